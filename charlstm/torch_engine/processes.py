"""Several processes that train one model together, as torchrun starts them, on either engine.

Process 0 has the run: it reads the text, decides, shows and saves, as a single process does. The
other processes are its helpers: they wait for its messages, and compute the gradients of their
share of the streams. In each step all processes add up their gradients in one all-reduce, and
gather the rows of the n-gram table that were met; then each makes the same update. A checkpoint
holds the states of all streams, which process 0 gathers. It therefore does not depend on the number
of processes.
"""

import atexit
import os
import pickle
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from secrets import token_hex
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig, Precision, TrainConfig
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.network.dropout import Dropout, Masks
from charlstm.network.model import CharModel
from charlstm.seeds import generator, generator_to_dict, load_generator
from charlstm.system.early_signals import SIGNALS
from charlstm.system.threads import Workers, share
from charlstm.text.batches import Flags
from charlstm.torch_engine.engine import TorchEngine
from charlstm.training.engine import Engine, NativeEngine
from charlstm.training.step import Exchange, Gradients, Step, StepSettings, Trained

# A helper waits for a message while process 0 evaluates, however long that takes. When a process
# ends, the others notice it at once, because its connection is closed.
LONGEST_WAIT = timedelta(days=7)
POLL_SECONDS = 0.02  # between looks into the store while the processes meet
# A message begins with its length. It is sent in a piece of FIRST_BYTES, and the rest, if any.
FIRST_BYTES, LENGTH_BYTES = 1 << 16, 8
LOST = (
    "another process of the training has ended: the run goes on from its last save with "
    "`resume=True`, with any number of processes"
)


@cache
def join_processes() -> int:
    """Connect this process with the others; return how often torchrun has started them, from 1.

    After a restart, the store of torchrun still has what the processes that have ended wrote.
    Therefore process 0 counts the starts, and tells the number to each helper under a name that the
    helper has just made up. When all helpers have the number, they meet under it.
    """
    store, rank, size = next(rendezvous("env://"))
    if rank == 0:
        start = store.add("charlstm starts", 1)
        waiting = set(range(1, size))
        while waiting:
            for helper in sorted(waiting):
                if store.check([f"helper {helper}"]):
                    store.set(store.get(f"helper {helper}").decode(), str(start))
                if store.check([f"helper {helper} of start {start}"]):
                    waiting.remove(helper)
            time.sleep(POLL_SECONDS)
    else:
        name = f"start of helper {rank}, {token_hex()}"
        store.set(f"helper {rank}", name)
        store.wait([name], LONGEST_WAIT)
        start = int(store.get(name))
        store.set(f"helper {rank} of start {start}", "")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        backend,
        store=PrefixStore(str(start), store),
        rank=rank,
        world_size=size,
        timeout=LONGEST_WAIT,
    )
    if rank == 0:
        atexit.register(_dismiss_helpers)
    return int(start)


@contextmanager
def loss_of_process_noticed() -> Iterator[None]:
    """Raise CharlstmError if another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise CharlstmError(LOST) from error


def tell(*message: Any) -> None:
    """Send a message from process 0 to its helpers."""
    content = pickle.dumps(message)
    whole = len(content).to_bytes(LENGTH_BYTES, "big") + content
    whole += bytes(max(0, FIRST_BYTES - len(whole)))
    tensor = torch.frombuffer(bytearray(whole), dtype=torch.uint8)
    with loss_of_process_noticed():
        for part in (tensor[:FIRST_BYTES], tensor[FIRST_BYTES:]):
            if len(part):
                dist.broadcast(part, src=0)


def hear() -> tuple[Any, ...]:
    """Return the next message of process 0."""
    first = torch.empty(FIRST_BYTES, dtype=torch.uint8)
    with loss_of_process_noticed():
        dist.broadcast(first, src=0)
        stop = LENGTH_BYTES + int.from_bytes(first[:LENGTH_BYTES].numpy().tobytes(), "big")
        rest = torch.empty(max(0, stop - FIRST_BYTES), dtype=torch.uint8)
        if len(rest):
            dist.broadcast(rest, src=0)
    content = torch.cat((first, rest))[LENGTH_BYTES:stop].numpy().tobytes()
    message: tuple[Any, ...] = pickle.loads(content)
    return message


def gathered(value: Any) -> list[Any]:
    """Return in process 0 the values of all processes, and [] elsewhere."""
    values: list[Any] = [None] * dist.get_world_size() if dist.get_rank() == 0 else []
    with loss_of_process_noticed():
        dist.gather_object(value, values or None, dst=0)
    return values


def streams_of(process: int, batch_size: int) -> slice:
    """Return the share of the streams that a process computes."""
    return share(batch_size, dist.get_world_size(), process)


# The signals that this process got, if it is a helper: process 0 hears of them in the next step.
_signals: list[int] = []


def exchanged(own: Gradients, batch_size: int) -> Gradients:
    """Return the gradients of all streams: see Exchange.

    All gradients are of the same arithmetic, arrays or tensors. Process 0 gets a signal that a
    helper got.
    """
    if isinstance(own.weights, np.ndarray):
        tensors = Gradients(*(None if each is None else torch.from_numpy(each) for each in own))
        found = exchanged(tensors, batch_size)
        return Gradients(*(None if each is None else each.numpy() for each in found))
    signals = torch.full_like(own.nats, len(_signals))
    with loss_of_process_noticed():
        counts = torch.stack((own.nats, signals)).to(own.weights.dtype)
        sums = torch.cat((own.weights, counts))
        dist.all_reduce(sums)
        all_of_table: tuple[Tensor, ...] = ()
        if own.rows is not None:
            # All processes send as much as the largest: row 0 with gradients of zero is added.
            streams = streams_of(dist.get_rank(), batch_size)
            largest = -(-batch_size // dist.get_world_size())
            of_table = own.rows, own.dlogits
            count = largest * len(own.rows) // (streams.stop - streams.start)
            columns = [tensor.view(torch.uint8) for tensor in of_table]
            bytes_of = torch.nn.functional.pad(
                torch.cat(columns, 1), (0, 0, 0, count - len(own.rows))
            )
            all_bytes = bytes_of.new_empty(dist.get_world_size() * count, bytes_of.shape[1])
            dist.all_gather_into_tensor(all_bytes, bytes_of)
            parts = torch.split(all_bytes, [each.shape[1] for each in columns], 1)
            all_of_table = tuple(
                part.contiguous().view(tensor.dtype)
                for part, tensor in zip(parts, of_table, strict=True)
            )
    if sums[-1] and dist.get_rank() == 0:
        signal.raise_signal(signal.SIGTERM)
    return Gradients(sums[:-2], sums[-2], *all_of_table)


def start_workers(engine: Engine, count: int) -> Workers:
    """Start the share of this process in the workers of its machine."""
    return engine.start_workers(max(1, count // int(os.environ["LOCAL_WORLD_SIZE"])))


class SharedEngine:
    """An engine whose steps are shared among the processes that torchrun has started."""

    def __init__(self, engine: Engine) -> None:
        join_processes()
        self._engine = engine
        self.name: str = engine.name
        self.device: str = engine.device
        self.reason: str = engine.reason
        self.description: str = f"{engine.description}, {dist.get_world_size()} processes"

    def precision(self, asked: str, model: ModelConfig) -> Precision:
        """See Engine.precision."""
        return self._engine.precision(asked, model)

    def explain_precision(self, asked: str, model: ModelConfig) -> str:
        """See Engine.explain_precision."""
        return self._engine.explain_precision(asked, model)

    def start_workers(self, count: int) -> Workers:
        """Start the share of this process in the workers of its machine."""
        return start_workers(self._engine, count)

    def make_dropout(
        self, trained: Trained, config: TrainConfig, rng: np.random.Generator
    ) -> Dropout:
        """See Engine.make_dropout."""
        return RepeatableDropout(self._engine.make_dropout(trained, config, rng))

    def make_step(
        self,
        trained: Trained,
        config: TrainConfig,
        dropout: Dropout,
        workers: Workers,
        exchange: Exchange | None = None,
    ) -> Step:
        """See Engine.make_step."""
        if trained.batch_size < dist.get_world_size():
            raise ArgumentError(
                f"`batch_size={trained.batch_size}` cannot be shared among "
                f"{dist.get_world_size()} processes: give each process a stream or more"
            )
        assert isinstance(dropout, RepeatableDropout)
        return SharedStep(self._engine, trained, config, dropout, workers)

    def to_evaluate(self, model: CharModel) -> CharModel:
        """See Engine.to_evaluate."""
        return self._engine.to_evaluate(model)


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


class ShareOfStep:
    """The part of a step that a process computes: that of some of the streams."""

    def __init__(
        self,
        engine: Engine,
        trained: Trained,
        config: TrainConfig,
        dropout: Dropout,
        workers: Workers,
    ) -> None:
        batch_size = trained.batch_size
        self._streams = streams_of(dist.get_rank(), batch_size)
        self._state = trained.state[:, :, self._streams].copy()
        own = trained._replace(state=self._state)
        self._step = engine.make_step(
            own, config, dropout, workers, lambda gradients: exchanged(gradients, batch_size)
        )

    def reset_states(self, streams: Flags) -> None:
        """See Step.reset_states; streams are those of all processes."""
        self._step.reset_states(streams[self._streams])

    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """See Step.take; the arguments are those of all streams."""
        own = self._streams
        return self._step.take(
            np.ascontiguousarray(inputs[:, own]),
            np.ascontiguousarray(targets[:, own]),
            np.ascontiguousarray(scales[:, own]),
            masks.of_streams(own),
            settings,
        )

    def fetch_states(self) -> list[Array]:
        """See Step.fetch; return in process 0 the states of the streams of each process."""
        self._step.fetch()
        return gathered(self._state)

    def send(self, state: Array) -> None:
        """See Step.send. state: that of all streams."""
        self._state[...] = state[:, :, self._streams]
        self._step.send()


class SharedStep(Step):
    """The step of process 0, which tells the helpers what to do."""

    def __init__(
        self,
        engine: Engine,
        trained: Trained,
        config: TrainConfig,
        dropout: RepeatableDropout,
        workers: Workers,
    ) -> None:
        super().__init__(trained)
        self._engine, self._config, self._dropout = engine, config, dropout
        self._own = ShareOfStep(engine, trained, config, dropout, workers)
        self._resets: Flags = np.zeros(trained.batch_size, bool)
        self.send()

    def reset_states(self, streams: Flags) -> None:
        """See Step.reset_states."""
        self._resets = self._resets | streams  # the helpers hear of them with the next step
        self._own.reset_states(streams)

    def send(self) -> None:
        """See Step.send."""
        tell("begin", self._engine.name, self._engine.device, self._trained, self._config)
        self._own.send(self._trained.state)
        self._resets = np.zeros_like(self._resets)
        self._is_fetched = True

    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """See Step.take."""
        # An exception leaves the processes at different places: no further step is possible.
        self.is_updating = True
        window = inputs, targets, scales
        tell("step", self._resets, *window, self._dropout.state_before, settings)
        results = self._own.take(*window, masks, settings)
        self._resets = np.zeros_like(self._resets)
        self._is_fetched = self.is_updating = False
        return results

    def fetch(self) -> None:
        """See Step.fetch."""
        if not self._is_fetched or self._resets.any():
            tell("fetch", self._resets)
            self._resets = np.zeros_like(self._resets)
            for process, state in enumerate(self._own.fetch_states()):
                streams = streams_of(process, self._trained.batch_size)
                self._trained.state[:, :, streams] = state
            self._is_fetched = True


def help_process_0() -> None:
    """Compute what process 0 says, until it says that the training has ended; print nothing.

    Raises CharlstmError if another process has ended without a word.
    """
    join_processes()
    for number in SIGNALS:
        signal.signal(number, lambda number, _: _signals.append(number))
    _help()
    dist.destroy_process_group()


def _help() -> None:
    rng = generator(0, "dropout")  # process 0 sends the states of its generator
    step: ShareOfStep
    workers = Workers(1)
    while True:
        kind, *content = hear()
        if kind == "begin":
            name, device, trained, config = content
            engine: Engine = NativeEngine() if name == "native" else TorchEngine(device)
            workers.close()
            workers = start_workers(engine, config.workers)
            dropout = engine.make_dropout(trained, config, rng)
            step = ShareOfStep(engine, trained, config, dropout, workers)
        elif kind == "step":
            resets, inputs, targets, scales, state_of_rng, settings = content
            step.reset_states(resets)
            load_generator(rng, state_of_rng)
            step.take(inputs, targets, scales, dropout.draw(), settings)
        elif kind == "fetch":
            step.reset_states(*content)
            step.fetch_states()
        else:
            return


def _dismiss_helpers() -> None:
    with suppress(CharlstmError):
        tell("end")
    dist.destroy_process_group()
