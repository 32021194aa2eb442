"""PyTorch's LSTM in training and sampling, in each of the ways that against_pytorch.py compares."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from common import IDS, SYMBOLS, Shape

from charlstm.system.threads import available_cores

Step = Callable[[], object]

SAMPLED_AT_ONCE = 50  # characters of each stream in a step of sampling
AUTOCAST = {"float32": "", "bfloat16": ", bf16 autocast"}  # the names of PyTorch's precisions


def make_layers(shape: Shape, one_hot: bool, as_cells: bool = False) -> tuple[Any, Any, Any]:
    """The input table with a row for each id, an nn.LSTM or a list of cells, and the head."""
    from torch import eye, nn

    H = shape.hidden
    table = nn.Embedding.from_pretrained(eye(SYMBOLS)) if one_hot else nn.Embedding(SYMBOLS, H)
    inputs = [table.embedding_dim, *[H] * (shape.layers - 1)]
    cells = nn.ModuleList(nn.LSTMCell(D, H) for D in inputs)
    recurrent = cells if as_cells else nn.LSTM(inputs[0], H, shape.layers)
    return table, recurrent, nn.Linear(H, SYMBOLS)


def training_losses(shape: Shape, one_hot: bool, bf16: bool) -> Iterator[float]:
    """The losses of training steps, each of which does all that charlstm.Trainer.step does."""
    import torch

    layers = table, lstm, head = make_layers(shape, one_hot)
    weights = [p for layer in layers for p in layer.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=2e-3, fused=True)
    streams = IDS.astype(np.int64).reshape(shape.batch_size, -1)
    ids = torch.from_numpy(streams.T.copy())  # time-major
    while True:
        state = None
        for place in range(0, len(ids) - shape.seq_length, shape.seq_length):
            torch.set_num_threads(available_cores())
            window = ids[place : place + shape.seq_length + 1]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                outputs, state = lstm(table(window[:-1]), state)
                logits = head(outputs).view(-1, SYMBOLS)
                loss = torch.nn.functional.cross_entropy(logits, window[1:].reshape(-1))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
            state = tuple(part.detach() for part in state)
            yield loss.item()


def sampling_step(shape: Shape, one_hot: bool, as_cells: bool, threads: int) -> Step:
    """A function that samples SAMPLED_AT_ONCE characters of each stream."""
    import torch

    table, recurrent, head = make_layers(shape, one_hot, as_cells)
    ids = torch.zeros(shape.batch_size, dtype=torch.long)
    states: list[Any] = [None] * shape.layers  # one for each cell; nn.LSTM uses only states[0]

    @torch.inference_mode()
    def step() -> None:
        nonlocal ids
        torch.set_num_threads(threads)
        for _ in range(SAMPLED_AT_ONCE):
            x = table(ids)
            if as_cells:
                for k, cell in enumerate(recurrent):
                    states[k] = cell(x, states[k])
                    x = states[k][0]
            else:
                outputs, states[0] = recurrent(x[None], states[0])
                x = outputs[0]
            ids = torch.multinomial(torch.softmax(head(x), 1), 1)[:, 0]

    return step


def training_steps(shape: Shape, precision: str) -> dict[str, Step]:
    """A training step in each of PyTorch's ways, by the name of the way."""
    return {
        f"nn.LSTM, {name}{AUTOCAST[precision]}": training_losses(
            shape, one_hot, precision == "bfloat16"
        ).__next__
        for name, one_hot in _INPUTS.items()
    }


def sampling_steps(shape: Shape) -> dict[str, Step]:
    """A step of sampling in each of PyTorch's ways, by the name of the way."""
    return {
        f"{kind}, {name}, threads: {threads}": sampling_step(shape, one_hot, as_cells, threads)
        for kind, as_cells in (("nn.LSTM", False), ("nn.LSTMCell", True))
        for name, one_hot in _INPUTS.items()
        for threads in {1, available_cores()}
    }


_INPUTS = {"one-hot": True, "embedding": False}
