"""Native sampling against the NumPy loop: the same draws, the same texts."""

import ctypes

import numpy as np
import pytest
from oracles import relative_error

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab, kernels
from charlstm.kernels import native_generation
from charlstm.network import sampling
from charlstm.network.layers.ngrams import history_codes, symbol_codes, write_history
from charlstm.network.sampling import Sampling, stream_texts
from charlstm.system.threads import Workers

if kernels.BACKEND != "native":
    pytest.skip("no native kernels here", allow_module_level=True)

VOCAB = Vocab.from_text("\n abcdefghijklmnopqrstuvwxyz.,'")


def make_model(hidden=24, layers=2, seed=1, **options):
    config = ModelConfig(hidden=hidden, layers=layers, ngram_slots=5_000, **options)
    model = CharModel(config, VOCAB, seed=seed)
    model.parameters["head.W"] *= 4  # probabilities as uneven as those of a trained model
    model.parameters["head.b"] = np.random.default_rng(seed).normal(size=len(VOCAB))
    if config.ngrams:
        table = model.parameters["ngrams.W"]
        table[...] = np.random.default_rng(seed).normal(0, 0.7, table.shape)
    return model


@pytest.fixture(scope="module")
def models():
    """A model without and one with n-grams, by their ModelConfig.ngrams."""
    return {ngrams: make_model(ngrams=ngrams, seed=1 + ngrams) for ngrams in (0, 5)}


@pytest.fixture
def texts(monkeypatch):
    """texts(model, native, ...): the samples of stream_texts, sampled natively or by NumPy."""

    def texts(model, native, **options):
        monkeypatch.setattr(kernels, "can_generate", lambda config: native)
        pieces = stream_texts(model, **options)
        return ["".join(parts) for parts in zip(*pieces, strict=True)]

    return texts


@pytest.mark.parametrize(
    "lengths",  # the length of one text and of each of 13
    [
        pytest.param((200, 100), id="short"),
        pytest.param((2000, 200), id="long", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(0),
        Sampling(0.5),
        Sampling(1.3, top_k=5),
        Sampling(top_p=0.8),
        Sampling(min_p=0.05),
        Sampling(0.9, top_k=12, top_p=0.9, min_p=0.01),
    ],
)
@pytest.mark.parametrize("count", [1, 13])
@pytest.mark.parametrize("ngrams", [0, 5])
def test_texts_equal_those_of_the_numpy_loop(models, texts, lengths, sampling, count, ngrams):
    options = {"length": lengths[count > 1], "count": count, "seed": 0, "sampling": sampling}
    native = texts(models[ngrams], True, **options)
    assert native == texts(models[ngrams], False, **options)
    assert len(set(native)) == (1 if sampling.temperature == 0 else count)


@pytest.mark.parametrize(("skip", "ngrams"), [(False, 0), (True, 0), (False, 2), (True, 16)])
@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize(("hidden", "layers"), [(1, 1), (16, 3), (33, 2), (130, 1)])
def test_texts_of_odd_sizes_equal_those_of_the_numpy_loop(
    texts, hidden, layers, capped, skip, ngrams
):
    model = make_model(hidden, layers, capped=capped, skip=skip, ngrams=ngrams)
    for count in (1, 4):
        # 70 steps: native blocks of 1, 2, 4, 8, 16 and 32 steps, and a part of another
        options = {"length": 70, "count": count, "seed": 5, "prime": "the "}
        assert texts(model, True, **options) == texts(model, False, **options)


@pytest.mark.parametrize(
    ("count", "teams", "members"), [(1, 1, 3), (1, 1, 16), (2, 2, 2), (5, 3, 2), (7, 7, 1)]
)
@pytest.mark.parametrize(("hidden", "layers"), [(33, 2), (130, 1)])
def test_texts_do_not_depend_on_the_threads(
    texts, monkeypatch, count, teams, members, hidden, layers
):
    """Teams of more threads than cores, and of more threads than parts of the weights."""
    model = make_model(hidden, layers, ngrams=3, lines=True)
    model.parameters["head.b"][0] += 3  # many line ends
    options = {"length": 70, "count": count, "seed": 5, "prime": "the "}
    alone = texts(model, True, workers=1, **options)
    monkeypatch.setattr(sampling, "sampling_teams", lambda *_: (teams, members))
    assert texts(model, True, **options) == alone


@pytest.mark.parametrize(
    ("count", "hidden", "workers", "teams"),
    [
        (1, 512, 2, (1, 2)), (1, 64, 2, (1, 1)), (1, 512, 16, (1, 8)), (1, 512, 1, (1, 1)),
        (8, 256, 2, (2, 1)), (13, 256, 16, (3, 4)), (64, 512, 2, (2, 1)), (64, 512, 16, (11, 1)),
    ],
)  # fmt: skip
def test_threads_share_samples_first_and_then_units(count, hidden, workers, teams):
    assert sampling.sampling_teams(count, hidden, workers) == teams


@pytest.mark.parametrize("ngrams", [0, 4])
def test_a_model_of_lines_clears_its_state_at_a_line_end(texts, ngrams):
    model = make_model(lines=True, ngrams=ngrams)
    model.parameters["head.b"][0] += 3  # many line ends
    options = {"length": 500, "seed": 2, "count": 3}
    native = texts(model, True, **options)
    assert native == texts(model, False, **options)
    assert native[0].count("\n") > 20


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize(("skip", "ngrams"), [(False, 0), (True, 0), (False, 6)])
@pytest.mark.parametrize(("threads", "teams"), [(1, 1), (2, 2), (3, 1)])
def test_logits_and_states_along_a_text_equal_those_of_numpy(skip, ngrams, capped, threads, teams):
    """Logits after each of 300 symbols, and the state after the last, to 1e-5."""
    workers = Workers(threads)
    model = make_model(hidden=40, capped=capped, skip=skip, ngrams=ngrams)
    rng = np.random.default_rng(0)
    state = rng.normal(0, 0.3, model.initial_state(2).shape).astype(np.float32)
    write_history(rng.integers(len(VOCAB) + 1, size=(max(0, ngrams - 1), 2)), state[2:])
    codes = symbol_codes(VOCAB.symbols)
    ids = np.array([3, 4])
    weights = model.parameters
    layers = [weights.part("layers.0."), weights.part("layers.1.")]
    packed = kernels.GenerationWeights(
        model.config, layers, weights.part("head."), -1, table=weights.get("ngrams.W"), codes=codes
    )
    generation = kernels.NativeGeneration(
        packed, ids, state, history_codes(state[2:], ngrams, codes),
        temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, workers=workers, teams=teams,
    )  # fmt: skip
    for _ in range(300):
        log_probs, state = model.step(ids, state)
        ids = generation.run(1, rng.random((1, 2)))[0]
        logits = generation._arrays.kept["logits"].reshape(2, -1)
        native = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        assert relative_error(native, log_probs) < 1e-5
    native_state, native_recent = generation.states()
    assert relative_error(native_state, state[:2]) < 1e-5
    assert np.array_equal(native_recent, history_codes(state[2:], ngrams, codes))
    workers.close()


FIELDS = native_generation._Generation._fields_


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(FIELDS[:-1], id="a field missing at the end"),
        pytest.param(FIELDS[1:], id="a field missing at the beginning"),
        pytest.param([*FIELDS, ("further", ctypes.c_void_p)], id="a field too many"),
        pytest.param(
            [*FIELDS[:-2], ("both", 2 * ctypes.c_void_p)], id="the same size, another last field"
        ),
    ],
)
def test_a_mirror_that_does_not_match_the_struct_is_refused(fields):
    mirror = type("Wrong", (ctypes.Structure,), {"_fields_": tuple(fields)})
    refused = "^the native kernels were built from another version of charlstm: install it again$"
    with pytest.raises(CharlstmError, match=refused):
        native_generation.generate_functions(mirror)
    native_generation.generate_functions(native_generation._Generation)
