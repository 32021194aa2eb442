"""Checkpoint files that are changed and must be refused."""

import json

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save as save_arrays

from charlstm import CharlstmError, load
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.safetensors_reader import NO_CHECKSUM, insert_checksum


def read_file(path):
    """The metadata and the arrays of a file, to be changed and written again."""
    with safe_open(path, "numpy") as file:
        metadata = json.loads(file.metadata()["charlstm"])
    return metadata, load_file(path)


def write_file(path, metadata, arrays):
    """Write a file with a right checksum."""
    content = save_arrays(arrays, {"charlstm": json.dumps({**metadata, "checksum": NO_CHECKSUM})})
    header, rest = insert_checksum(content)
    path.write_bytes(header + rest)


def assert_refused(path, message):
    """The file is refused in one line with its path and the message."""
    with pytest.raises(CharlstmError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    assert message in text, text
    with pytest.raises(CharlstmError):
        load(path)
