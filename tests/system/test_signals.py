"""Signals that stop a run after its current step, or end the process with cleaning up."""

import signal
import threading

import pytest

from charlstm.system.signals import Interrupted, StopSignals, exit_on_sigterm


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_signal_is_noted_and_handlers_are_put_back(name):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with StopSignals() as stop:
        assert stop.signal_name == ""
        stop.check()
        signal.raise_signal(getattr(signal, name))
        assert stop.signal_name == name
        with pytest.raises(Interrupted):
            stop.check()
        assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    for number, handler in before.items():
        assert signal.getsignal(number) == handler


def test_the_second_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt), StopSignals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_do_not_change_the_handlers():
    seen = []

    def work():
        with StopSignals() as stop:
            seen.append((stop.signal_name, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [("", signal.default_int_handler)]


def test_sigterm_raises_system_exit():
    with pytest.raises(SystemExit) as caught, exit_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_that_is_set_already_stays():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with exit_on_sigterm():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert seen == [signal.SIGTERM]
