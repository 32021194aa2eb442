"""Write NaN and infinities into a run, and check that none of them reaches a file."""

import numpy as np
from safetensors.numpy import load_file

from charlstm.training.layerwise_step import LayerwiseStep
from charlstm.training.native_step import NativeStep
from charlstm.training.trainer import Trainer


def write_into(array, value):
    array.reshape(-1)[array.size // 2] = value


def layerwise(step):
    """A LayerwiseStep with the settings of a NativeStep."""
    return LayerwiseStep(step._trained, step._config, step._dropout, step._workers)


def inject(monkeypatch, *places):
    """Write a number into a run at each place (kind, name, value, step), once and in that order.

    Returns the list of the places that are still to come.
    """
    real, to_come = Trainer.step, list(places)

    def step(trainer):
        if not to_come or trainer.steps_done + 1 != to_come[0][3]:
            return real(trainer)
        kind, name, value, _ = to_come.pop(0)
        model = trainer.model
        backward, weight_gradients = model.backward_activations, model.weight_gradients
        usual_step = trainer._step
        if isinstance(usual_step, NativeStep):  # whose parts cannot be replaced
            trainer._step = layerwise(usual_step)

        def backward_from_injected(targets, activations, *more):
            if kind == "activations":
                where = activations
                for part in name.split("."):
                    where = where[int(part)] if part.isdecimal() else getattr(where, part)
                write_into(where, value)
            return backward(targets, activations, *more)

        def injected_gradients(activations, gradients, masks):
            def all_at_once():
                for task in weight_gradients(activations, gradients, masks):
                    task()
                if kind == "gradients":
                    write_into(gradients[name], value)

            return [all_at_once]

        model.backward_activations = backward_from_injected
        model.weight_gradients = injected_gradients
        try:
            loss = real(trainer)
        finally:
            model.backward_activations, model.weight_gradients = backward, weight_gradients
            trainer._step = usual_step
        if kind == "weights":
            write_into(trainer.model.parameters[name], value)
        if kind == "state":
            write_into(trainer.arrays()[name], value)
        return loss

    monkeypatch.setattr(Trainer, "step", step)
    return to_come


def require_finite_files(folder):
    """An observer that fails if a file with NaN or infinity has been saved."""

    def observe(event):
        if event["event"] == "save":
            for name, array in load_file(folder / event["file"]).items():
                assert np.isfinite(array).all(), (event, name)

    return observe
