"""Files that a command writes: those of the user are not replaced without being asked."""

import io
import os

import pytest

from charlstm.analysis.gradient_flow import measure_gradient_flow, random_ids
from charlstm.analysis.gradient_picture import draw
from charlstm.cli.inspect import models_to_measure
from charlstm.errors import CharlstmError
from charlstm.pages.page import render, write_page
from charlstm.system.output_files import require_output


def test_a_new_file_may_be_written(tmp_path):
    require_output(tmp_path / "new", (), overwrite=False)


def test_a_file_of_the_users_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(CharlstmError, match=r"charlstm did not write it: .* `overwrite=True`$"):
        require_output(tmp_path / "mine", (), overwrite=False)
    require_output(tmp_path / "mine", (), overwrite=True)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "broken link"])
def test_only_a_regular_file_is_replaced_and_no_link_is_followed(tmp_path, kind):
    (tmp_path / "file").write_bytes(b"mine")
    path = tmp_path / "output"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("file" if kind == "link" else "missing"))
    with pytest.raises(CharlstmError, match="is not a regular file"):
        require_output(path, (), overwrite=True)


def test_no_input_is_replaced_even_when_asked(tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    text = tmp_path / "texts" / "text"
    text.write_bytes(b"text")
    os.link(text, tmp_path / "same")
    for name in (str(text), str(tmp_path / "texts"), tmp_path / "same"):
        with pytest.raises(CharlstmError, match="is read by this command"):
            require_output(text, (tmp_path / "missing", name), overwrite=True)
    with text.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        with pytest.raises(CharlstmError, match="is read by this command"):
            require_output(text, ("-",), overwrite=True)


def test_pages_and_pictures_of_charlstm_are_replaced_without_being_asked(tmp_path):
    models = models_to_measure(hidden=4)
    flows = measure_gradient_flow(models, random_ids(models["LSTM"].vocab, 5), 5, None, 5.0)
    for name in ("a.svg", "a.png"):
        draw(flows, tmp_path / name)
        require_output(tmp_path / name, (), overwrite=False)
    page = render("charlstm.analysis", "gates_page", {"run": "x" * 10_000})
    write_page(tmp_path / "page", page)
    require_output(tmp_path / "page", (), overwrite=False)
