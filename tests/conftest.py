"""Fixtures for all tests: small texts, small runs, a cache, the command line."""

import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from corpus_files import make_text
from required import REQUIRE_ALL

pytest.register_assert_rewrite("run_files", "injection", "checkpoint_files")

with suppress(ImportError):  # The emulated ARM system has no hypothesis.
    from hypothesis import settings

    # A busy machine may stop a test for seconds: no example has a time limit.
    settings.register_profile("charlstm", deadline=None)
    settings.load_profile("charlstm")

# A shell starts background jobs with SIGINT ignored, and nohup ignores SIGHUP. The processes that
# tests start and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Tests of runs, commands, scripts and analyses are not among the quick ones.
NOT_QUICK = (
    "analysis",
    "export",
    "pages",
    "runs",
    "cli",
    "scripts",
    "server",
    "test_documents.py",
    "test_package.py",
)


def pytest_collection_modifyitems(items):
    for item in items:
        inside = Path(item.path).relative_to(Path(__file__).parent).parts[0]
        is_slow = item.get_closest_marker("slow") is not None
        if inside not in NOT_QUICK and not is_slow:
            item.add_marker("quick")


def pytest_configure(config):
    os.environ["CHARLSTM_CACHE"] = tempfile.mkdtemp(prefix="charlstm-tests-")


def pytest_unconfigure(config):
    shutil.rmtree(os.environ["CHARLSTM_CACHE"], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _unskipped((yield))


def _unskipped(report):
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but CHARLSTM_REQUIRE_ALL=1: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def text_file(tmp_path_factory) -> Path:
    """About 4,000 characters in lines."""
    path = tmp_path_factory.mktemp("text") / "small.txt"
    path.write_text(make_text(120), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(text_file, tmp_path_factory) -> Path:
    """The folder of a finished run that has learned something; tests must not change it."""
    import charlstm
    from charlstm.runs import report_writer

    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_writer, "FREE_SECONDS", 100)  # however busy the machine is
        charlstm.train(
            text_file, folder, hidden=32, batch_size=8, seq_length=24, steps=250, lr=0.02, workers=1
        )
    return folder


@pytest.fixture(scope="session")
def byte_run(tmp_path_factory) -> Path:
    """A short run at level byte, on text with several bytes per character."""
    import charlstm

    folder = tmp_path_factory.mktemp("bytes")
    (folder / "t.txt").write_text("grüße aus köln, 日本語も。\n" * 80, encoding="utf-8")
    run = charlstm.train(
        folder / "t.txt", folder / "run", level="byte", hidden=16, steps=30, batch_size=4, workers=1
    )
    return run.path


@pytest.fixture
def cli():
    """A function that runs a command in this process: cli("sample", "-r", run) -> click result."""
    from command_line import invoke

    from charlstm.cli.main import main

    def call(*arguments, input=None, code=0):
        result = invoke(main, *arguments, input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.stdout + result.stderr
        return result

    return call


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of a new, empty cache, which this test uses."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CHARLSTM_CACHE", str(folder))
    monkeypatch.delenv("CHARLSTM_CACHE_GB", raising=False)
    return folder


@pytest.fixture
def write(tmp_path):
    """A function that makes a file and its folders: write(name, content) -> path."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
