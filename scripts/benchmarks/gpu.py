#!/usr/bin/env python3
"""Compares the training speed of charlstm's PyTorch engine with that of nn.LSTM on a GPU.

    .venv/bin/python scripts/benchmarks/gpu.py           # on a machine with a CUDA device: minutes
    .venv/bin/python scripts/benchmarks/gpu.py --trial   # a trial of the script on a CPU: seconds

For each size, the table has the characters a second of the best batch size of each way: charlstm
with plain and with capped cells, and nn.LSTM. Each way runs in float32 without TF32, and with
products in bfloat16. nn.LSTM trains as well as it can: embedded symbols, cuDNN, fused Adam, and the
whole step in a CUDA graph. The products of a step are timed alone, one after the other: their time
is also given as a share of the step of charlstm. Run nothing else on the machine.
"""

import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import suppress
from statistics import median
from typing import Any, NamedTuple

try:
    import numpy as np
    import torch
    from common import IDS, SYMBOLS, VOCAB, Shape, code_commit, markdown_table
    from torch import nn

    from charlstm import CharModel, ModelConfig, TrainConfig, Trainer
    from charlstm.config import Precision
    from charlstm.torch_engine import TorchEngine
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup oracles, then .venv/bin/python {sys.argv[0]}")

SIZES = ((1, 256), (2, 512), (2, 1024), (4, 1024))
BATCH_SIZES = (64, 256, 1024)
SEQ_LENGTH = 64
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
WARM_UP_STEPS, TIMED_STEPS, ROUNDS = 6, 10, 3
Step = Callable[[], object]


class Way(NamedTuple):
    """A way to train: its name, and a function that returns the step of a shape."""

    name: str
    make: Callable[[Shape, Precision], Step]


def of_charlstm(capped: bool, device: str) -> Callable[[Shape, Precision], Step]:
    """The steps of charlstm with the torch engine."""

    def make(shape: Shape, precision: Precision) -> Step:
        model = ModelConfig(hidden=shape.hidden, layers=shape.layers, capped=capped)
        config = TrainConfig(
            batch_size=shape.batch_size,
            seq_length=shape.seq_length,
            precision=precision,
            workers=1,
        )
        return Trainer(CharModel(model, VOCAB), IDS, config, engine=TorchEngine(device)).step

    return make


def of_lstm(device: str) -> Callable[[Shape, Precision], Step]:
    """The steps of nn.LSTM, which do all that a step of charlstm does."""

    def make(shape: Shape, precision: Precision) -> Step:
        steps = lstm_steps(shape, precision, device)
        return lambda: next(steps)

    return make


def lstm_steps(shape: Shape, precision: Precision, device: str) -> Iterator[float]:
    """The losses of steps of nn.LSTM; on a CUDA device in a graph, after a warm-up."""
    H, T, B = shape.hidden, shape.seq_length, shape.batch_size
    table = nn.Embedding(SYMBOLS, H).to(device)
    lstm = nn.LSTM(H, H, shape.layers).to(device)
    head = nn.Linear(H, SYMBOLS).to(device)
    weights = [p for part in (table, lstm, head) for p in part.parameters()]
    is_cuda = device == "cuda"
    optimizer = torch.optim.Adam(weights, lr=2e-3, fused=True, capturable=is_cuda)
    streams = torch.from_numpy(IDS[: len(IDS) // B * B].astype(np.int64).reshape(B, -1).T.copy())
    window = torch.zeros(T + 1, B, dtype=torch.long, device=device)
    state = [torch.zeros(shape.layers, B, H, device=device) for _ in range(2)]
    loss = torch.zeros((), device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            outputs, after = lstm(table(window[:-1]), tuple(state))
            logits = head(outputs).view(-1, SYMBOLS)
        found = nn.functional.cross_entropy(logits.float(), window[1:].reshape(-1))
        found.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        with torch.no_grad():
            loss.copy_(found)
            for part, end in zip(state, after, strict=True):
                part.copy_(end)

    graph, done = None, 0
    while True:
        for place in range(0, len(streams) - T, T):
            window.copy_(streams[place : place + T + 1])
            if graph is not None:
                graph.replay()
            elif is_cuda and done >= WARM_UP_STEPS - 2:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    step()
                graph.replay()
            elif is_cuda:  # A warm-up must not run on the default stream.
                stream = torch.cuda.Stream()
                stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(stream):
                    step()
                torch.cuda.current_stream().wait_stream(stream)
            else:
                step()
            done += 1
            yield loss.item()


def seconds_of(step: Step, device: str) -> float:
    """The median time of a step, after a warm-up."""
    for _ in range(WARM_UP_STEPS):
        step()
    times = []
    for _ in range(ROUNDS):
        synchronise(device)
        began = time.perf_counter()
        for _ in range(TIMED_STEPS):
            step()
        synchronise(device)
        times.append((time.perf_counter() - began) / TIMED_STEPS)
    return median(times)


def seconds_of_products(shape: Shape, precision: Precision, device: str) -> float:
    """The time of the matrix products of a step alone, in their order of sizes."""
    H, T, B = shape.hidden, shape.seq_length, shape.batch_size
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def random(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, dtype=dtype, device=device)

    h, da, Wh = random(B, H), random(B, 4 * H), random(H, 4 * H)
    rows, drows = random(T * B, H), random(T * B, 4 * H)
    W, dlogits = random(H, SYMBOLS), random(T * B, SYMBOLS)

    def products() -> None:
        for _ in range(shape.layers):
            for _ in range(T):
                h @ Wh
                da @ Wh.T
            rows.T @ drows  # the gradient of Wh
        for _ in range(shape.layers - 1):
            rows @ Wh
            drows @ Wh.T
            rows.T @ drows
        rows @ W
        dlogits @ W.T
        rows.T @ dlogits

    if device != "cuda":
        return seconds_of(products, device)
    products()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        products()
    return seconds_of(graph.replay, device)


def synchronise(device: str) -> None:
    """Wait until the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def best_of(way: Way, sizes: tuple[int, int], batches: tuple[int, ...], seq_length: int,
            precision: Precision, device: str) -> tuple[float, Shape]:  # fmt: skip
    """The characters a second of a way at its best batch size, and the shape of that."""
    rates = []
    for batch_size in batches:
        shape = Shape(*sizes, batch_size, seq_length)
        with suppress(torch.OutOfMemoryError):
            rates.append((shape.characters / seconds_of(way.make(shape, precision), device), shape))
    return max(rates)


def rows_of(device: str, sizes: Any, batches: tuple[int, ...], seq_length: int) -> list[list[str]]:
    """The rows of the table, which are also printed as soon as they are measured."""
    ways = [
        Way("charlstm, plain", of_charlstm(False, device)),
        Way("charlstm, capped", of_charlstm(True, device)),
    ]
    rows = []
    for precision in PRECISIONS:
        for each in sizes:
            peer, _ = best_of(
                Way("nn.LSTM", of_lstm(device)), each, batches, seq_length, precision, device
            )
            row = [f"{each[0]}×{each[1]}", precision, f"{peer:,.0f}"]
            for way in ways:
                rate, shape = best_of(way, each, batches, seq_length, precision, device)
                share = seconds_of_products(shape, precision, device) * rate / shape.characters
                row += [f"{rate:,.0f} (B={shape.batch_size})", f"{rate / peer:.2f}", f"{share:.0%}"]
            rows.append(row)
            print(*row, sep="\t", file=sys.stderr, flush=True)
    return rows


HEADINGS = ("size", "products", "nn.LSTM", "charlstm, plain", "ratio", "in products",
            "charlstm, capped", "ratio", "in products")  # fmt: skip


def is_trial(description: str | None) -> bool:
    """Whether --trial is given; exits if it is not and there is no CUDA device."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--trial", action="store_true", help="tiny sizes, on the CPU")
    trial: bool = parser.parse_args().trial
    if not (trial or torch.cuda.is_available()):
        sys.exit("PyTorch finds no CUDA device here: --trial tries the script on a CPU")
    torch.set_num_threads(1)
    return trial


def main() -> None:
    trial = is_trial(__doc__)
    torch.backends.cudnn.allow_tf32 = False  # as in the products of charlstm
    name = "a trial on the CPU" if trial else torch.cuda.get_device_name()
    sizes, batches, length = (((1, 8), (2, 8)), (2, 4), 5) if trial else (
        SIZES, BATCH_SIZES, SEQ_LENGTH)  # fmt: skip
    rows = rows_of("cpu" if trial else "cuda", sizes, batches, length)
    print(f"Characters a second on {name}, PyTorch {torch.__version__}, commit {code_commit()}:\n")
    print(markdown_table(HEADINGS, rows))


if __name__ == "__main__":
    main()
