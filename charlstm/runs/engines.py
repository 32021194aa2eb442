"""The engines by their names: what computes a run."""

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
        return NativeEngine()
    from charlstm.torch_engine import TorchEngine  # imported here: it imports PyTorch

    return TorchEngine(device)
