"""TorchStep: a training step in PyTorch, on any of its devices."""

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor

from charlstm.arrays import Array, Ids
from charlstm.config import TrainConfig
from charlstm.network.dropout import Masks
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.text.batches import Flags
from charlstm.torch_engine.network import CharNetwork, TensorMasks
from charlstm.torch_engine.updates import UPDATES, Numbers, clip, update_table
from charlstm.training.step import Exchange, Gradients, Step, StepSettings, Trained

# The number of windows of a length that are computed before a CUDA graph is made for the length:
# libraries allocate their memory and compile their kernels in the first of them.
WINDOWS_BEFORE_GRAPH = 3


class Window(NamedTuple):
    """The data of a training step: inputs, targets and scales (T, B) as for Step.take."""

    inputs: Tensor
    targets: Tensor
    scales: Tensor
    numbers: Tensor  # see Numbers
    masks: TensorMasks

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors of the data."""
        return (*self[:4], *self.masks.tensors())

    def copy_to(self, device: torch.device) -> "Window":
        """Return a copy on a device."""
        inputs, targets, scales, numbers = (each.to(device, copy=True) for each in self[:4])
        return Window(inputs, targets, scales, numbers, self.masks.clone())


class TorchStep(Step):
    """Makes training steps of any model on a device of PyTorch.

    The weights and all else that a step changes lie on the device: `fetch` copies them into the
    arrays of the trainer, `send` copies them back. On a CUDA device, the whole step is captured in
    a CUDA graph for each length of a window, so that no kernel waits for Python. With an exchange,
    no graph is made, which was not tried yet with collectives.

    exchange: as for Engine.make_step.
    """

    def __init__(
        self,
        trained: Trained,
        config: TrainConfig,
        device: torch.device,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(trained)
        self._config, self._device, self._exchange = config, device, exchange
        model, averaged, optimizer, table_optimizer, state = trained
        network = CharNetwork(model.config, model.vocab, config.precision).to(device)
        self._network = network
        self._weights = [p for name, p in network.named_parameters() if name != NGRAM_TABLE]
        self._vector = flattened(self._weights)

        def like(array: Array) -> Tensor:
            return torch.empty(array.shape, dtype=self._vector.dtype, device=device)

        self._state = like(state)
        self._moments = {name: like(array) for name, array in optimizer.moments.items()}
        # Each array of the trainer, with its tensor on the device.
        self._pairs = [(model.parameters.vector, self._vector), (state, self._state)]
        self._pairs += [(optimizer.moments[name], self._moments[name]) for name in self._moments]
        self._average = self._table = self._squares = None
        if averaged is not None:
            self._average = like(averaged.parameters.vector)
            self._pairs.append((averaged.parameters.vector, self._average))
        if table_optimizer is not None:
            self._table = network.ngrams["W"].requires_grad_(False)
            self._squares = like(table_optimizer.squares)
            self._pairs.append((model.parameters[NGRAM_TABLE], self._table))
            self._pairs.append((table_optimizer.squares, self._squares))
        # By the length T of a window: its data on the device, which its graph reads where they lie,
        # the graph, and the number of steps computed so far.
        self._windows: dict[int, Window] = {}
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._computed: Counter[int] = Counter()
        # the sum of the losses in nats, and the norm of the gradient
        self._results = torch.zeros(2, dtype=torch.float64, device=device)
        self._is_fetched = True
        self.send()

    def reset_states(self, streams: Flags) -> None:
        """See Step.reset_states."""
        if streams.any():
            self._is_fetched = False
            flags = torch.from_numpy(streams).to(self._device)
            self._state.masked_fill_(flags[:, None], 0)

    def fetch(self) -> None:
        """See Step.fetch."""
        if not self._is_fetched:
            for array, tensor in self._pairs:
                torch.from_numpy(array).copy_(tensor)
            self._is_fetched = True

    def send(self) -> None:
        """See Step.send."""
        with torch.no_grad():
            for array, tensor in self._pairs:
                tensor.copy_(torch.from_numpy(array))
        self._is_fetched = True

    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """See Step.take."""
        given = Window(
            torch.from_numpy(inputs),
            torch.from_numpy(targets),
            torch.from_numpy(scales),
            torch.tensor(Numbers.of_step(self._config, settings), dtype=self._vector.dtype),
            TensorMasks.of(masks, self._device),
        )
        T = len(inputs)
        if T not in self._windows:
            self._windows[T] = given.copy_to(self._device)
        for ours, theirs in zip(self._windows[T].tensors(), given.tensors(), strict=True):
            ours.copy_(theirs)
        self._is_fetched = False
        self._compute(T)
        nats, norm = self._results.tolist()
        return nats, norm

    def _compute(self, T: int) -> None:
        """Compute a step: on a CUDA device by a graph, once some steps were computed without."""
        window, device = self._windows[T], self._device
        self._computed[T] += 1
        if device.type != "cuda" or self._exchange is not None:
            self._step(window)
        elif self._computed[T] <= WINDOWS_BEFORE_GRAPH:
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                self._step(window)
            torch.cuda.current_stream(device).wait_stream(stream)
        else:
            if T not in self._graphs:
                self._graphs[T] = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graphs[T]):
                    self._step(window)
            self._graphs[T].replay()

    def _step(self, window: Window) -> None:
        """Compute the gradients, and update all that a step changes."""
        logits, state = self._network(window.inputs, self._state, window.masks)
        losses = torch.nn.functional.cross_entropy(
            logits, window.targets.flatten(), reduction="none"
        )
        scales = window.scales.flatten()
        *of_weights, dlogits = torch.autograd.grad(
            (losses * scales).sum(), (*self._weights, logits)
        )
        gradient = torch.cat([each.flatten() for each in of_weights])
        with torch.no_grad():
            nats = losses.masked_fill(scales == 0, 0).sum(dtype=torch.float64)
            gradients = Gradients(gradient, nats)
            if self._table is not None:
                rows = self._network.context_rows(window.inputs, self._state)
                gradients = gradients._replace(rows=rows, dlogits=dlogits)
            if self._exchange is not None:
                gradients = self._exchange(gradients)
            norm = gradients.weights.norm()
            self._results[0], self._results[1] = gradients.nats, norm
            self.is_updating = True
            self._update(window, gradients, norm)
            self._state.copy_(state)
            self.is_updating = False

    def _update(self, window: Window, gradients: Gradients, norm: Tensor) -> None:
        """Update the weights, their average and the table of n-grams."""
        numbers, config = Numbers(*window.numbers.unbind()), self._config
        clip(gradients.weights, norm, config)
        UPDATES[config.optimizer](self._vector, gradients.weights, self._moments, numbers, config)
        if self._average is not None:
            self._average.add_((self._vector - self._average) * numbers.average_step)
        if self._table is not None and self._squares is not None:
            rows, dlogits = gradients.rows, gradients.dlogits
            update_table(self._table, self._squares, rows, dlogits, numbers.table_rate)


def flattened(weights: list[torch.nn.Parameter]) -> Tensor:
    """Return one vector in which the weights now lie, one after the other."""
    vector = torch.cat([each.detach().flatten() for each in weights])
    start = 0
    for each in weights:
        each.data = vector[start : start + each.numel()].view_as(each)
        start += each.numel()
    return vector
