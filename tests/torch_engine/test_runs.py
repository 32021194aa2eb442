"""Runs with --engine torch: begun on one engine, gone on with on another, evaluated."""

import json

import pytest
from command_line import invoke
from corpus_files import make_text

import charlstm
from charlstm import CharlstmError
from charlstm.cli.main import main

torch = pytest.importorskip("torch")

SMALL = {"hidden": 12, "batch_size": 4, "seq_length": 16, "eval_every": 4, "workers": 1, "seed": 3}
# Settings that would otherwise depend on the number of steps.
SMALL |= {"schedule": "constant", "lr": 0.02, "ngram_lr": 0.2, "dropout": 0.1}
SMALL |= {"weight_dropout": 0.1}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(make_text(80))
    return path


def run_cli(*arguments):
    done = invoke(main, *arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    return done


def events_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_goes_from_engine_to_engine_and_ends_as_on_one(corpus, tmp_path):
    run, straight = tmp_path / "run", tmp_path / "straight"
    expected = charlstm.train(corpus, straight, steps=12, **SMALL).best_val_loss
    charlstm.train(corpus, run, steps=4, **SMALL)
    charlstm.train(run=run, resume=True, steps=8, engine="torch", device="cpu")
    charlstm.train(run=run, resume=True, steps=10)  # on the engine of the run
    found = charlstm.train(run=run, resume=True, steps=12, engine="native").best_val_loss
    assert found == pytest.approx(expected, abs=0.005)
    starts = [event for event in events_of(run) if event["event"] == "start"]
    assert [start["engine"] for start in starts] == ["native", "torch", "torch", "native"]
    assert [len(start["notices"]) for start in starts[1:]] == [1, 0, 1]
    assert starts[1]["notices"][0].endswith("(cpu): the last digits of losses may differ")
    first, second = (charlstm.load(folder).score("the cat").nats for folder in (run, straight))
    assert first == pytest.approx(second, abs=0.02)


def test_a_run_with_pytorch_resumes_bit_for_bit(corpus, tmp_path):
    for name, ends in (("straight", [8]), ("interrupted", [3, 8])):
        charlstm.train(corpus, tmp_path / name, steps=ends[0], engine="torch", **SMALL)
        for end in ends[1:]:
            charlstm.train(run=tmp_path / name, resume=True, steps=end)
    models = [charlstm.load(tmp_path / name / "last.safetensors")
              for name in ("straight", "interrupted")]  # fmt: skip
    for name, array in models[0].parameters.items():
        assert array.tobytes() == models[1].parameters[name].tobytes(), name


def test_the_first_line_says_which_device_computes_and_why(corpus, tmp_path):
    run = tmp_path / "run"
    options = ["--steps", "2", "--hidden", "4", "--engine", "torch", "--device", "cpu"]
    done = run_cli("train", corpus, "-r", run, *options)
    version = torch.__version__.split("+")[0]
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"Computed by PyTorch {version} on ")
    assert first.endswith("(cpu): as asked for")
    page = (run / "report.html").read_text()
    assert "--engine torch --device cpu" in page


def test_eval_measures_the_same_loss_on_the_device(corpus, tmp_path):
    run = tmp_path / "run"
    charlstm.train(corpus, run, steps=3, **SMALL)
    native, theirs = (
        run_cli("eval", "-r", run, "--json", *options)
        for options in ((), ("--engine", "torch", "--device", "cpu"))
    )
    losses = [json.loads(done.stdout)["nats_per_character"] for done in (native, theirs)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert native.stderr == "" and theirs.stderr.startswith("computed by PyTorch")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch", "device": "mps"}, "PyTorch finds no mps device here: leave out"),
        ({"device": "cpu"}, '`device` has no effect with `engine="native"`'),
        ({"engine": "cuda"}, "`engine` must be one of native, torch"),
        ({"engine": "torch", "device": "gpu"}, "`device` must be one of auto, cuda, mps, cpu"),
    ],
)
def test_what_cannot_compute_is_refused_in_one_line(
    corpus, tmp_path, options, message, monkeypatch
):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(CharlstmError, match=message):
        charlstm.train(corpus, tmp_path / "run", steps=1, **options)
