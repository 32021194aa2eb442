"""Signals that stop a run after its current step, or end the process with cleaning up."""

import signal
import threading
import time
import weakref

import pytest

from charlstm.system.signals import (
    SIGNALS,
    Interrupted,
    StopSignals,
    exit_code,
    exit_on_signals,
)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_is_noted_and_handlers_are_put_back(name):
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with StopSignals() as stop:
        assert stop.signal_name == ""
        stop.check()
        signal.raise_signal(getattr(signal, name))
        assert stop.signal_name == name
        with pytest.raises(Interrupted):
            stop.check()
        was_restored = signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
        assert was_restored == (name != "SIGHUP")
    for number, handler in before.items():
        assert signal.getsignal(number) == handler


def test_the_second_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt), StopSignals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_sighup_and_a_sighup_after_sigterm_are_ignored():
    for first in (signal.SIGHUP, signal.SIGTERM):
        with StopSignals() as stop:
            for number in (first, signal.SIGHUP, signal.SIGHUP):
                signal.raise_signal(number)
        assert stop.signal_name == first.name


@pytest.mark.parametrize("context", [StopSignals, exit_on_signals])
def test_ignored_signals_stay_ignored(context):
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        with context():
            for number in SIGNALS:
                signal.raise_signal(number)
        assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_IGN] * 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_other_threads_do_not_change_the_handlers():
    seen = []

    def work():
        with StopSignals() as stop:
            seen.append((stop.signal_name, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [("", signal.default_int_handler)]


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_other_signals_raise_system_exit(name, code):
    number = signal.Signals[name]
    with pytest.raises(SystemExit) as caught, exit_on_signals():
        signal.raise_signal(number)
    assert caught.value.code == code == exit_code(name)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_second_sighup_does_not_disturb_the_cleaning_up():
    cleaned = False
    with pytest.raises(SystemExit), exit_on_signals():
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)
            cleaned = True
    assert cleaned and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_exit_codes():
    assert [exit_code(name) for name in ("SIGHUP", "SIGINT", "SIGTERM")] == [129, 130, 143]
    assert exit_code("finished") == exit_code("stopped early") == 0


def test_a_handler_that_is_set_already_stays():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with exit_on_signals():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert seen == [signal.SIGTERM]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_callback_of_a_weak_reference_is_not_lost(name, capsys):
    """Python drops exceptions in such callbacks, and prints them."""
    number = getattr(signal, name)
    expected = KeyboardInterrupt if name == "SIGINT" else SystemExit

    def signalled(reference):
        signal.raise_signal(number)
        for _ in range(1000):  # the exception is raised in here
            pass

    with pytest.raises(expected) as raised, exit_on_signals():
        text = threading.Event()
        reference = weakref.ref(text, signalled)
        del text
        assert reference() is None
        time.sleep(10)
    if expected is SystemExit:
        assert raised.value.code == 128 + number
    assert capsys.readouterr().err == ""
