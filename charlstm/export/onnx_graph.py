"""A model as an ONNX graph, which computes a window of any length for any number of streams.

Inputs: ids (T, B) int64, and the state (L, S, B, H) before the window, as of RecurrentStack: zeros
before a text. Outputs: log_probs (T, B, V), which predict the symbol after each id, and new_state.
A step is a window with T = 1.

The window is a Scan over the graph of one step, in which all layers are written with plain
operators: ONNX's own LSTM knows no capped gates. Weights and state are float32.
"""

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from charlstm.arrays import Array
from charlstm.network.layers.ngrams import MULTIPLIER, symbol_codes
from charlstm.network.model import CharModel
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.network.stack import state_shape

OPSET = 18  # the first with BitwiseXor
IR_VERSION = 9  # of the same year, so that older readers accept the file


class _Graph:
    """A graph that is written operator by operator."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: Any, name: str = "") -> str:
        """Add a constant, and return its name."""
        name = name or f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def add(
        self,
        operator: str,
        *inputs: str | Array | np.number[Any],
        name: str = "",
        **attributes: Any,
    ) -> str:
        """Add an operator of names and constants, and return the name of its output."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        name = name or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [name], **attributes))
        return name

    def split(self, x: str, count: int) -> list[str]:
        """Cut the last axis into equal parts."""
        parts = [f"{x}part{k}" for k in range(count)]
        self.nodes.append(helper.make_node("Split", [x], parts, axis=-1, num_outputs=count))
        return parts


def onnx_model(model: CharModel) -> onnx.ModelProto:
    """Return the graph of a model; its metadata hold the symbols, in the order of their ids."""
    step, outer = _step(model), _Graph()
    outer.nodes.append(
        helper.make_node(
            "Scan", ["state", "ids"], ["new_state", "log_probs"], body=step, num_scan_inputs=1
        )
    )
    _, S, _, H = shape = state_shape(model.config, 1)
    state = (shape[0], S, "B", H)
    graph = helper.make_graph(
        outer.nodes,
        "charlstm",
        [_value("ids", ("T", "B"), TensorProto.INT64), _value("state", state)],
        [_value("log_probs", ("T", "B", len(model.vocab))), _value("new_state", state)],
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="charlstm",
    )
    about = {"config": model.config.to_dict(), "vocab": model.vocab.to_dict()}
    helper.set_model_props(made, {name: json.dumps(entry) for name, entry in about.items()})
    onnx.checker.check_model(made)
    return made


def _value(name: str, shape: tuple[int | str, ...], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _step(model: CharModel) -> Any:
    """Return the graph of a step: from state and ids (B) to the state after it and log_probs."""
    g, config = _Graph(), model.config
    weights = {
        name: g.constant(array.astype(np.float32), name) for name, array in model.parameters.items()
    }
    layer_count, S, _, H = state_shape(config, 1)
    x, states, outputs = "", [], []
    for k in range(config.layers):
        own = {name: f"layers.{k}.{name}" for name in model.parameters.part(f"layers.{k}.")}
        before = [
            g.add("Gather", g.add("Gather", "state", np.int64(k)), np.int64(part))
            for part in range(S)
        ]
        a = g.add("MatMul", x, own["Wx"]) if x else g.add("Gather", own["Wx"], "ids")
        if "Wi" in own:
            a = g.add("Add", a, g.add("Gather", own["Wi"], "ids"))
        after = _cell(g, model, own, g.add("Add", a, own["b"]), before)
        x = after[0]
        outputs.append(x)
        states += after
    seen = outputs[-config.layers_seen :]
    x = g.add("Concat", *seen, axis=-1) if len(seen) > 1 else x
    logits = g.add("Add", g.add("MatMul", x, weights["head.W"]), weights["head.b"])
    stacked = [g.add("Unsqueeze", each, np.array([0])) for each in states]
    joined = g.add("Concat", *stacked, axis=0)  # (layers S, B, H)
    new_state = g.add("Reshape", joined, np.array([config.layers, S, -1, H]))
    if config.ngrams:
        rows, history = _contexts(g, model)
        found = g.add("Gather", weights[NGRAM_TABLE], rows)  # (ngrams - 1, B, V)
        sums = g.add("ReduceSum", found, np.array([0]), keepdims=0)
        logits = g.add("Add", logits, sums)
        new_state = g.add("Concat", new_state, history, axis=0)
    g.add("Identity", new_state, name="state_after")
    g.add("LogSoftmax", logits, axis=-1, name="log_probs_of_step")
    shape = (layer_count, S, "B", H)
    return helper.make_graph(
        g.nodes,
        "step",
        [_value("state", shape), _value("ids", ("B",), TensorProto.INT64)],
        [_value("state_after", shape), _value("log_probs_of_step", ("B", len(model.vocab)))],
        g.constants,
    )


def _cell(g: _Graph, model: CharModel, own: dict[str, str], a: str, before: list[str]) -> list[str]:
    """Add a cell: see textbook_cells.py. Returns its output, and what else its state holds.

    own: the names of the layer's parameters. a: the input times Wx, plus b. before: h (B, H), and
    for an LSTM c.
    """
    h, one = before[0], np.float32(1)
    from_h = g.add("MatMul", h, own["Wh"])
    if model.config.cell == "rnn":
        return [g.add("Tanh", g.add("Add", a, from_h))]
    if model.config.cell == "lstm":
        *gates, candidate = g.split(g.add("Add", a, from_h), 4)
        i, f, o = (g.add("Sigmoid", gate) for gate in gates)
        if model.config.capped:
            i = g.add("Min", i, g.add("Sub", one, f))
        kept = g.add("Mul", f, before[1])
        c = g.add("Add", kept, g.add("Mul", i, g.add("Tanh", candidate)))
        return [g.add("Mul", o, g.add("Tanh", c)), c]
    (a_r, a_z, a_n), (h_r, h_z, h_n) = g.split(a, 3), g.split(from_h, 3)
    r, z = (g.add("Sigmoid", g.add("Add", *both)) for both in ((a_r, h_r), (a_z, h_z)))
    m = g.add("Mul", r, g.add("Add", h_n, own["bn"]))
    n = g.add("Tanh", g.add("Add", a_n, m))
    new = g.add("Mul", g.add("Sub", one, z), n)
    return [g.add("Add", new, g.add("Mul", z, h))]


def _contexts(g: _Graph, model: CharModel) -> tuple[str, str]:
    """Add the hashes of the last symbols: see network/layers/ngrams.py.

    Returns the indices (ngrams - 1, B) of the table's rows, and the layers of the next state that
    hold symbols. ONNX multiplies signed integers and shifts unsigned ones; both have the same bits.
    """
    config, contexts = model.config, model.config.ngrams - 1
    layers, S, _, H = state_shape(config, 1)
    further = layers - config.layers
    multiplier, bits = np.int64(MULTIPLIER - 2**64), np.uint64(32)
    held = g.add("Slice", "state", np.array([config.layers]), np.array([layers]), np.array([0]))
    numbers = g.add("Reshape", g.add("Transpose", held, perm=[2, 0, 1, 3]), np.array([0, -1]))
    first = g.add("Slice", numbers, np.array([0]), np.array([contexts]), np.array([1]))
    bounded = g.add("Clip", g.add("Round", first), np.float32(0), np.float32(len(model.vocab)))
    ids = g.add("Unsqueeze", g.add("Add", "ids", np.int64(1)), np.array([1]))
    # (B, ngrams) ids plus one, oldest first
    symbols = g.add("Concat", g.add("Cast", bounded, to=TensorProto.INT64), ids, axis=1)
    codes = g.constant(symbol_codes(model.vocab.symbols).astype(np.int64))

    def shifted(x: str) -> str:
        unsigned = g.add("Cast", x, to=TensorProto.UINT64)
        moved = g.add("BitShift", unsigned, bits, direction="RIGHT")
        return g.add("Cast", moved, to=TensorProto.INT64)

    hashes, rows = "", []
    for back in range(config.ngrams):
        code = g.add("Gather", codes, g.add("Gather", symbols, np.int64(contexts - back), axis=1))
        sums = g.add("Add", hashes, code) if hashes else code
        hashes = g.add("Mul", sums, multiplier)
        if back:
            mixed = g.add("Mul", g.add("BitwiseXor", hashes, shifted(hashes)), multiplier)
            row = shifted(g.add("Mul", shifted(mixed), np.int64(config.ngram_slots)))
            rows.append(g.add("Unsqueeze", row, np.array([0])))
    kept = g.add("Slice", symbols, np.array([1]), np.array([config.ngrams]), np.array([1]))
    padding = np.array([0, 0, 0, further * S * H - contexts])
    padded = g.add("Pad", g.add("Cast", kept, to=TensorProto.FLOAT), padding)
    apart = g.add("Reshape", padded, np.array([-1, further, S, H]))
    return g.add("Concat", *rows, axis=0), g.add("Transpose", apart, perm=[1, 2, 0, 3])
