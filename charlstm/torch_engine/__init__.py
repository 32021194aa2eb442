"""The engine PyTorch: the network as a module, and the training step on any device of PyTorch.

It needs the extra `charlstm[torch]`. No other package of charlstm imports PyTorch.
"""

from charlstm.errors import CharlstmError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise CharlstmError("PyTorch is not installed: pip install 'charlstm[torch]'") from error

from charlstm.torch_engine.conversion import from_torch, to_torch
from charlstm.torch_engine.engine import TorchEngine
from charlstm.torch_engine.network import CharNetwork

__all__ = ["CharNetwork", "TorchEngine", "from_torch", "to_torch"]
