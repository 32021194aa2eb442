"""A server of a small model, for all tests of a module."""

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from servers import make_model, save_model, serving


@pytest.fixture(scope="session")
def model():
    return make_model()


@pytest.fixture(scope="session")
def server(model, tmp_path_factory):
    folder = save_model(tmp_path_factory.mktemp("served") / "tiny", model)
    with serving("-r", folder) as server:
        yield server
