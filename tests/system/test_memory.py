"""The memory of the machine, and the refusal of needs beyond it."""

import pytest

from charlstm import CharlstmError
from charlstm.system import memory
from charlstm.system.memory import machine_memory, require_memory


def test_the_memory_of_this_machine_is_plausible():
    found = machine_memory()
    assert found is None or 10**8 < found < 10**15


def test_needs_beyond_the_memory_are_refused_in_gigabytes(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 4 * 10**9)
    require_memory(4 * 10**9, "this", "do that")
    with pytest.raises(CharlstmError) as caught:
        require_memory(12_600_000_000, "this", "do that")
    assert str(caught.value) == "this takes at least 13 GB, but this machine has 4 GB: do that"
    with pytest.raises(CharlstmError):
        require_memory(10**400, "this", "do that")
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    require_memory(10**400, "this", "do that")
