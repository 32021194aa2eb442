"""TorchEngine: training steps and losses computed by PyTorch, on a GPU or another device."""

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from charlstm.arrays import Array, Ids
from charlstm.config import AUTO, ModelConfig, Precision, TrainConfig
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.network.activations import Activations
from charlstm.network.dropout import BYTE_VALUES, Dropout, DroppedWeights, Masks
from charlstm.network.model import CharModel
from charlstm.network.precision import resolve_precision
from charlstm.system.threads import Workers
from charlstm.torch_engine.network import CharNetwork
from charlstm.torch_engine.step import TorchStep
from charlstm.training.step import Exchange, Step, Trained
from charlstm.untrusted import require_choice


def choose_device(asked: str) -> tuple[torch.device, str]:
    """Return the device that `asked` names, and why: "auto" takes a GPU if there is one.

    Raises CharlstmError for a device that PyTorch does not find here.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    require_choice("device", asked, (AUTO, *found, "cpu"))
    if asked == "cpu":
        return torch.device("cpu"), "as asked for"
    if asked != AUTO and not found[asked]:
        raise CharlstmError(
            f'PyTorch finds no {asked} device here: leave out `device`, or give `device="cpu"` or '
            '`engine="native"`'
        )
    for name in found if asked == AUTO else [asked]:
        if found[name]:
            return torch.device(name), "as asked for" if asked == name else "found here"
    return torch.device("cpu"), 'PyTorch finds no GPU (`engine="native"` is faster on a processor)'


def name_of(device: torch.device) -> str:
    """Return the name of a device for people, such as "NVIDIA H100 (cuda)"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    return f"{platform.machine()} ({device.type})"


class TorchEngine:
    """PyTorch on a device: "cuda", "cpu", "mps", or "auto" for a GPU if there is one."""

    name: str = "torch"

    def __init__(self, device: str = AUTO) -> None:
        self.device: str = device
        self._device, self.reason = choose_device(device)
        version = torch.__version__.split("+")[0]
        self.description: str = f"PyTorch {version} on {name_of(self._device)}"

    def precision(self, asked: str, model: ModelConfig) -> Precision:
        """Return the precision asked for; "auto" is float32."""
        if asked == "bfloat16" and self._device.type == "mps":
            raise ArgumentError('`precision="bfloat16"` is not for `device="mps"`')
        return resolve_precision("float32" if asked == AUTO else asked, model)

    def explain_precision(self, asked: str, model: ModelConfig) -> str:
        """See Engine.explain_precision."""
        if model.dtype == "float32" and asked == "bfloat16":
            return "bfloat16 products, the sums and weights in float32"
        return f"{model.dtype}, without TF32" if self._device.type == "cuda" else model.dtype

    def start_workers(self, count: int) -> Workers:
        """Let PyTorch use `count` threads on the processor; one worker tells it what to do."""
        torch.set_num_threads(count)
        return Workers(1)

    def make_dropout(
        self, trained: Trained, config: TrainConfig, rng: np.random.Generator
    ) -> Dropout:
        """Return a Dropout that draws on the device; on a CPU, the masks of the native engine."""
        of_model = trained.model.config, config, trained.batch_size, trained.recurrent, rng
        if self._device.type == "cpu":
            return Dropout(*of_model)
        return DeviceDropout(*of_model, self._device)

    def make_step(
        self,
        trained: Trained,
        config: TrainConfig,
        dropout: Dropout,
        workers: Workers,
        exchange: Exchange | None = None,
    ) -> Step:
        """See Engine.make_step."""
        return TorchStep(trained, config, self._device, exchange)

    def to_evaluate(self, model: CharModel) -> CharModel:
        """See Engine.to_evaluate."""
        return DeviceModel(model, self._device)


class DeviceModel(CharModel):
    """A model whose losses are computed on a device, by the weights that it has when it is made."""

    def __init__(self, model: CharModel, device: torch.device) -> None:
        vars(self).update(vars(model))
        self._device = device
        self._network = CharNetwork.from_model(model).to(device)

    def losses(
        self, inputs: Ids, targets: Ids, state: Array, activations: Activations | None = None
    ) -> tuple[Array, Array]:
        """See RecurrentStack.losses; the activations are not needed."""
        inputs, targets = self._checked_window(inputs, targets)
        on_device = (
            torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
            for array in (inputs, targets, self._checked_state(state, inputs.shape[1]))
        )
        ids, expected, before = on_device
        with torch.no_grad():
            logits, after = self._network(ids, before)
            losses = torch.nn.functional.cross_entropy(logits, expected.flatten(), reduction="none")
        return losses.view(inputs.shape).cpu().numpy(), after.cpu().numpy()


class DeviceDropout(Dropout):
    """Draws the masks of training steps on a device, as tensors.

    Each draw is seeded by a number from the trainer's random generator, whose state a checkpoint
    holds.
    """

    def __init__(
        self,
        model: ModelConfig,
        config: TrainConfig,
        batch_size: int,
        recurrent: Sequence[Array],
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        super().__init__(model, config, batch_size, recurrent, rng)
        self._device, self._generator = device, torch.Generator(device)
        self._dtype = getattr(torch, model.dtype)

    def draw(self) -> Masks:
        """Draw the masks of the next training step."""
        if not (self.drops_outputs or self._sources):
            return Masks()
        self._generator.manual_seed(int(self._rng.integers(2**63)))
        between = head_input = None
        if self.drops_outputs:
            factors = self._factors(self._shape, self._dropped)
            between, head_input = factors[: self._between], factors[self._between :]
        p = np.array(self._dropped_values / BYTE_VALUES, np.float32)
        # The network multiplies the weights by the factors itself.
        nothing = np.empty(0)
        recurrent = (DroppedWeights(self._factors(Wh.shape, p), nothing) for Wh in self._sources)
        return Masks(between, head_input, tuple(recurrent))

    def _factors(self, shape: tuple[int, ...], dropped: Array) -> Any:
        """Return 0 with the probability `dropped`, else 1 / (1 - dropped), for each element."""
        p = torch.from_numpy(dropped).to(self._device)
        kept = torch.rand(shape, generator=self._generator, device=self._device) >= p
        return kept.to(self._dtype) / (1 - p.to(self._dtype))
