"""Files of other kinds and files with bad headers: refused in one line, before memory is taken."""

import json
import pickle
import struct

import pytest
from checkpoint_files import assert_refused

from charlstm.runs.safetensors_reader import MAX_HEADER, MAX_VALUES


def with_header(header):
    """The bytes of a file with that header and one float."""
    data = json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data + bytes(4)


ONE = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}

FOREIGN_FILES = {
    "empty": b"",
    "text": b"Once upon a time there was a king.\n" * 9,
    "pickle": pickle.dumps({"model": [1, 2, 3]}),
    "header beyond all bounds": struct.pack("<Q", 2**63) + b"{}",
    "foreign": with_header({"__metadata__": {"format": "pt"}, **ONE}),
    "without metadata": with_header(ONE),
    "metadata not JSON": with_header({"__metadata__": {"charlstm": "{"}, **ONE}),
    "metadata no object": with_header({"__metadata__": {"charlstm": "[1]"}, **ONE}),
    "metadata a number": with_header({"__metadata__": {"charlstm": "7"}, **ONE}),
    "metadata nested without end": with_header({"__metadata__": {"charlstm": "[" * 90_000}, **ONE}),
    "metadata empty": with_header({"__metadata__": {"charlstm": "{}"}, **ONE}),
}


@pytest.mark.parametrize("name", FOREIGN_FILES)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(FOREIGN_FILES[name])
    assert_refused(path, "not a checkpoint of charlstm")


def file_of(header, rest=b""):
    """The bytes of a file with that header, an object or JSON text."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data)) + data + rest


def one_array(**changes):
    """The header of a file with one array, or with a changed description of it."""
    return {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}


BAD_HEADERS = {
    "another length": (file_of(ONE, bytes(5)), "bytes, but the header describes"),
    "a gap": (
        file_of(one_array(data_offsets=[1, 5]), bytes(5)),
        "does not begin where the array before it",
    ),
    "overlap": (
        file_of({**one_array(), "b": one_array()["a"]}, bytes(4)),
        "does not begin where the array before it",
    ),
    "size": (
        file_of(one_array(shape=[2]), bytes(4)),
        "the size of the array 'a' in bytes does not fit its shape",
    ),
    "a product beyond 64 bits": (
        file_of(one_array(shape=[2**32, 2**32]), bytes(4)),
        "in bytes does not fit its shape",
    ),
    "negative": (file_of(one_array(shape=[-1]), bytes(4)), "no valid shape or place"),
    "backwards": (
        file_of(one_array(data_offsets=[4, 0]), bytes(4)),
        "in bytes does not fit its shape",
    ),
    "float": (file_of(one_array(shape=[1.0]), bytes(4)), "no valid shape or place"),
    "bool": (file_of(one_array(shape=[True]), bytes(4)), "no valid shape or place"),
    "dimensions": (file_of(one_array(shape=[1] * 40), bytes(4)), "no valid shape or place"),
    "dtype": (
        file_of(one_array(dtype=["F32"]), bytes(4)),
        "the array a has type ['F32'], not F16, F32 or F64",
    ),
    "no entry": (file_of({"a": 3}, bytes(4)), "'a' does not describe an array"),
    "more in it": (file_of(one_array(code="x"), bytes(4)), "'a' does not describe an array"),
    "twice": (file_of(b'{"a":{},"a":{}}'), "a name stands twice"),
    "digits": (file_of(b'{"a":' + b"1" * 5000 + b"}"), "too many digits"),
    "infinite": (file_of(b'{"a":1e999}'), "a number that is not finite"),
    "NaN": (file_of(b'{"a":NaN}'), "a number that is not finite"),
    "not ASCII": (file_of('{"ä":1}'.encode()), "not of ASCII"),
    "a list": (file_of(b"[1]"), "no JSON object"),
    "nested": (file_of(b"[" * 100_000), "not a checkpoint"),
    "metadata": (file_of({"__metadata__": {"charlstm": 3}}), "not a JSON object of strings"),
    "many arrays": (file_of({str(n): {} for n in range(1001)}), "1,001 arrays, at most 1,000"),
    "many values": (file_of(b"[" + b"1," * MAX_VALUES + b"1]"), "too many values"),
    "long": (file_of(b" " * (MAX_HEADER + 1)), "the header has 33,554,433 bytes"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_bad_header_is_refused(tmp_path, name):
    content, message = BAD_HEADERS[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert_refused(path, message)
