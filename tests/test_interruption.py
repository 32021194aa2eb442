"""Signals as a wish to stop after the current step."""

import signal
import threading

import pytest

from charlstm.interruption import Interruption


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_signal_is_noted_and_handlers_are_put_back(name):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with Interruption() as interruption:
        assert interruption.signal_name == ""
        signal.raise_signal(getattr(signal, name))
        assert interruption.signal_name == name
        assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    for number, handler in before.items():
        assert signal.getsignal(number) == handler


def test_the_second_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt), Interruption():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_leave_the_handlers_alone():
    seen = []

    def work():
        with Interruption() as interruption:
            seen.append((interruption.signal_name, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [("", signal.default_int_handler)]
