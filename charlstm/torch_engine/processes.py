"""Several processes that train one model together, as torchrun starts them.

Process 0 has the run: it reads the text, decides, shows, evaluates and saves, as a single process
does. The other processes are its helpers: they wait for its messages, and compute the gradients of
their share of the streams. In each step all processes add up their gradients in one all-reduce, and
gather the rows of the n-gram table that were met; then each makes the same update. A checkpoint
holds the states of all streams, which process 0 gathers. It therefore does not depend on the number
of processes.
"""

import atexit
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from charlstm.arrays import Array, Ids
from charlstm.config import AUTO, ModelConfig, TrainConfig
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.network.dropout import Dropout, Masks
from charlstm.seeds import generator, generator_to_dict, load_generator
from charlstm.system.threads import Workers, share
from charlstm.text.batches import Flags
from charlstm.torch_engine.engine import TorchEngine
from charlstm.torch_engine.step import TorchStep
from charlstm.training.step import Step, StepSettings, Trained

# A helper waits for a message while process 0 evaluates, however long that takes. When a process
# ends, the others notice it at once, because its connection is closed.
LONGEST_WAIT = timedelta(days=7)
LOST = (
    "another process of the training has ended: the run goes on from its last save with "
    "`resume=True`, with any number of processes"
)


@contextmanager
def loss_of_process_noticed() -> Iterator[None]:
    """Raise CharlstmError if another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise CharlstmError(LOST) from error


def tell(*message: Any) -> None:
    """Send a message from process 0 to its helpers."""
    with loss_of_process_noticed():
        dist.broadcast_object_list([message], src=0)


def hear() -> tuple[Any, ...]:
    """Return the next message of process 0."""
    received: list[Any] = [None]
    with loss_of_process_noticed():
        dist.broadcast_object_list(received, src=0)
    message: tuple[Any, ...] = received[0]
    return message


class SharedEngine(TorchEngine):
    """A TorchEngine whose steps are shared among the processes that torchrun has started."""

    def __init__(self, device: str = AUTO) -> None:
        super().__init__(device)
        if self._device.type == "cuda":
            self._device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(self._device)
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if self._device.type == "cuda" else "gloo"
            store, rank, size = next(rendezvous("env://"))
            # After a restart, the store still has the addresses of the processes that have ended.
            store = PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=size, timeout=LONGEST_WAIT
            )
            if dist.get_rank() == 0:
                atexit.register(_dismiss_helpers)
        self.description += f", {dist.get_world_size()} processes"

    def start_workers(self, count: int) -> Workers:
        """Divide the threads among the processes of this machine."""
        return super().start_workers(max(1, count // int(os.environ["LOCAL_WORLD_SIZE"])))

    def make_dropout(
        self,
        model: ModelConfig,
        config: TrainConfig,
        batch_size: int,
        recurrent: Sequence[Array],
        rng: np.random.Generator,
    ) -> Dropout:
        """See Engine.make_dropout."""
        dropout = super().make_dropout(model, config, batch_size, recurrent, rng)
        self._dropout = RepeatableDropout(dropout)
        return self._dropout

    def make_step(
        self,
        trained: Trained,
        config: TrainConfig,
        batch_size: int,
        drops_outputs: bool,
        workers: Workers,
    ) -> Step:
        """See Engine.make_step."""
        if batch_size < dist.get_world_size():
            raise ArgumentError(
                f"`batch_size={batch_size}` cannot be shared among {dist.get_world_size()} "
                "processes: give each process a stream or more"
            )
        return SharedStep(trained, config, self._device, self._dropout)

    def help_process_0(self) -> None:
        """Compute what process 0 says, until it says that the training has ended."""
        step: ShareOfStep
        while True:
            kind, *content = hear()
            if kind == "begin":
                trained, config, workers = content
                self.start_workers(workers)
                batch_size = trained.state.shape[2]
                recurrent = [
                    trained.model.parameters[f"layers.{k}.Wh"]
                    for k in range(trained.model.config.layers)
                ]
                rng = generator(0, "dropout")  # process 0 sends the states of its generator
                dropout = super().make_dropout(
                    trained.model.config, config, batch_size, recurrent, rng
                )
                step = ShareOfStep(trained, config, self._device)
            elif kind == "step":
                inputs, targets, scales, state_of_rng, settings = content
                load_generator(rng, state_of_rng)
                step.take(inputs, targets, scales, dropout.draw(), settings)
            elif kind == "reset":
                step.reset_states(*content)
            elif kind == "fetch":
                step.gather_states()
            else:
                return


class RepeatableDropout(Dropout):
    """Draws as another Dropout does, and keeps the state of the generator before each draw."""

    def __init__(self, dropout: Dropout) -> None:
        vars(self).update(vars(dropout))
        self._own = dropout
        self.state_before = generator_to_dict(self._rng)

    def draw(self) -> Masks:
        """See Dropout.draw."""
        self.state_before = generator_to_dict(self._rng)
        return self._own.draw()


class ShareOfStep(TorchStep):
    """A TorchStep of some of the streams, which all processes take at the same time."""

    captures = False  # not tried yet with collectives

    def __init__(self, trained: Trained, config: TrainConfig, device: torch.device) -> None:
        self._share = self._share_of(dist.get_rank(), trained.state.shape[2])
        own = trained._replace(state=trained.state[:, :, self._share])
        super().__init__(own, config, device)
        self._batch_size = trained.state.shape[2]

    @staticmethod
    def _share_of(process: int, batch_size: int) -> slice:
        return share(batch_size, dist.get_world_size(), process)

    def reset_states(self, streams: Flags) -> None:
        """See Step.reset_states; streams are those of all processes."""
        super().reset_states(streams[self._share])

    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """See Step.take; the arguments are those of all streams."""
        own = self._share
        with loss_of_process_noticed():
            return super().take(
                np.ascontiguousarray(inputs[:, own]),
                np.ascontiguousarray(targets[:, own]),
                np.ascontiguousarray(scales[:, own]),
                masks.of_streams(own),
                settings,
            )

    def gather_states(self) -> list[Array] | None:
        """Return in process 0 the states (L, S, streams, H) of each process, and None elsewhere."""
        is_first = dist.get_rank() == 0
        states: list[Any] | None = [None] * dist.get_world_size() if is_first else None
        with loss_of_process_noticed():
            dist.gather_object(self._state.cpu().numpy(), states, dst=0)
        return states

    def _combine(
        self, gradient: Tensor, nats: Tensor, rows: Tensor | None, dlogits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Return the sums of the gradients and losses, and the rows and dlogits, of all streams."""
        sums = torch.cat((gradient, nats.to(gradient.dtype)[None]))
        dist.all_reduce(sums)
        if rows is not None:
            # All processes send as much as the largest: row 0 with gradients of zero is added.
            largest = -(-self._batch_size // dist.get_world_size())
            missing = largest * len(rows) // self._state.shape[2] - len(rows)
            rows = _gathered(torch.nn.functional.pad(rows, (0, 0, 0, missing)))
            dlogits = _gathered(torch.nn.functional.pad(dlogits, (0, 0, 0, missing)))
        return sums[:-1], sums[-1], rows, dlogits


class SharedStep(ShareOfStep):
    """The step of process 0, which tells the helpers what to do."""

    def __init__(
        self, trained: Trained, config: TrainConfig, device: torch.device, dropout: Dropout
    ) -> None:
        self._all, self._dropout = trained, dropout
        super().__init__(trained, config, device)

    def reset_states(self, streams: Flags) -> None:
        """See Step.reset_states."""
        if streams.any():
            tell("reset", streams)
            super().reset_states(streams)
            self._is_fetched = False

    def send(self) -> None:
        """See Step.send."""
        tell("begin", self._all, self._config, self._config.workers)
        super().send()

    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """See Step.take."""
        assert isinstance(self._dropout, RepeatableDropout)
        tell("step", inputs, targets, scales, self._dropout.state_before, settings)
        return super().take(inputs, targets, scales, masks, settings)

    def fetch(self) -> None:
        """See Step.fetch."""
        if not self._is_fetched:
            tell("fetch")
            states = self.gather_states()
            super().fetch()
            for process, state in enumerate(states or ()):
                self._all.state[:, :, self._share_of(process, self._batch_size)] = state


def _gathered(tensor: Tensor) -> Tensor:
    """Return the tensors of all processes, one after the other."""
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def _dismiss_helpers() -> None:
    with suppress(CharlstmError):
        tell("end")
    dist.destroy_process_group()


def help_process_0(device: str) -> None:
    """Help process 0 until its training ends; it alone answers signals, and prints.

    Exits with code 1 if process 0 has ended without a word.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        SharedEngine(device).help_process_0()
    except CharlstmError:
        sys.exit(1)
    dist.destroy_process_group()
