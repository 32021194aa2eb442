"""The engines by their names: what computes a run; and the processes that torchrun starts."""

import os

from charlstm.config import AUTO
from charlstm.errors import ArgumentError
from charlstm.training.engine import Engine, NativeEngine
from charlstm.untrusted import require_choice

NATIVE, TORCH = "native", "torch"
ENGINES, DEVICES = (NATIVE, TORCH), (AUTO, "cuda", "mps", "cpu")


def engine_of(name: str, device: str = AUTO) -> Engine:
    """Return the engine of a name: "native", or "torch" on a device.

    Raises CharlstmError if PyTorch is not installed, or does not find the device.
    """
    require_choice("engine", name, ENGINES)
    require_choice("device", device, DEVICES)
    if name == NATIVE:
        if device != AUTO:
            raise ArgumentError(
                '`device` has no effect with `engine="native"`: add `engine="torch"`'
            )
        engine: Engine = NativeEngine()
    else:
        from charlstm.torch_engine import TorchEngine  # here, as it imports PyTorch

        engine = TorchEngine(device)
    if process_count() == 1:
        return engine
    from charlstm.torch_engine.processes import SharedEngine

    return SharedEngine(engine)


def process_count() -> int:
    """Return the number of processes that torchrun has started for one training; 1 without it."""
    is_by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    return int(os.environ["WORLD_SIZE"]) if is_by_torchrun else 1


def process_number() -> int:
    """Return the number of this process, from 0. Process 0 has the run; the others help it."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def is_restarted() -> bool:
    """Return whether torchrun has started the processes again, after one had ended or joined."""
    if process_count() == 1:
        return False
    from charlstm.torch_engine.processes import join_processes

    return join_processes() > 1
