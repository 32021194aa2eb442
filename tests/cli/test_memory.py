"""Commands that need more memory than the machine has are refused, and leave no files."""

import gzip
import re

import pytest

import charlstm
from charlstm import CharlstmError
from charlstm.system import memory


@pytest.mark.parametrize(
    "options",
    [{"hidden": 16_384, "layers": 64}, {"seq_length": 10**9, "batch_size": 1, "hidden": 16_384}],
)
def test_a_run_that_cannot_fit_leaves_nothing(tmp_path, text_file, monkeypatch, options):
    monkeypatch.setattr(memory, "machine_memory", lambda: 4 * 10**9)
    with pytest.raises(CharlstmError, match=r"takes at least [\d,]+ GB, but this machine has 4 GB"):
        charlstm.train(text_file, tmp_path / "run", steps=1, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_is_read_at_once_must_fit(monkeypatch, trained, tmp_path, cli):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"e" * 5_000_000))
    monkeypatch.setattr(memory, "machine_memory", lambda: 16 * 4_000_000)
    error = cli("sample", "--prime-file", tmp_path / "bomb.gz", "-r", trained, code=1).stderr
    assert re.search(r"^charlstm: a text of 4,\d+,\d+ characters or more takes at least", error)


def test_a_sample_that_is_too_long_to_keep_is_refused(trained, cli):
    message = f"length={10**30}` takes at least .*: take a smaller `length`, or name a text of `st"
    with pytest.raises(CharlstmError, match=message):
        charlstm.load(trained).sample(10**30)
    for option in ("--json", "--novelty", "--count=2"):
        error = cli("sample", "-r", trained, "--length", 10**30, option, code=1).stderr
        assert error.startswith(f"charlstm: --length {10**30} takes at least")
        assert error.count("\n") == 1


def test_a_sample_of_too_many_texts_is_refused(trained, line_run, cli):
    for arguments in (["-r", trained], ["-r", line_run, "--unique"]):
        error = cli("sample", *arguments, "--count", 10**12, code=1).stderr
        assert error.startswith("charlstm: --count 1000000000000 takes at least")
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (["train", "t.txt"], ": try a smaller --hidden or --batch-size or --seq-length"),
        (["sample"], ": try a smaller --count or --length"),
        (["eval"], ": try a smaller --batch-size"),
        (["score"], ""),
        (["inspect", "gates", "--text", "a"], ": try a smaller --length"),
        (["inspect", "gradients"], ": try a smaller --hidden or --lags"),
    ],
)
def test_the_advice_names_only_options_that_the_command_has(cli, monkeypatch, command, advice):
    def without_memory():
        raise MemoryError

    monkeypatch.setattr("charlstm.kernels.require_requested_kernels", without_memory)
    assert cli(*command, code=1).stderr == f"charlstm: not enough memory{advice}\n"
