"""Which requests are let in: the headers Host, Origin and Authorization."""

import base64
import json

import pytest
from servers import save_model, serving


def status_of(server, method="GET", path="/v1/models", **headers):
    found, answered, body = server.request(method, path, headers=headers)
    if found >= 400:
        assert json.loads(body)["error"]["message"]
    return found, answered


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8000", "192.168.1.7", "localhost."]
)
def test_names_of_this_machine_are_let_in(server, host):
    assert status_of(server, Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "", "127.0.0.1.evil.example", "[::1"]
)
def test_other_names_are_refused_against_dns_rebinding(server, host):
    for path in ("/", "/v1/models", "/health", "/nothing"):
        assert status_of(server, path=path, Host=host)[0] == 403


def test_pages_of_other_sites_are_refused(server):
    own = f"http://127.0.0.1:{server.port}"
    assert status_of(server, Origin=own)[0] == 200
    for origin in ("https://evil.example", "null", "http://localhost:1", "file://"):
        found, headers = status_of(server, Origin=origin)
        assert found == 403
        assert "access-control-allow-origin" not in headers
        assert status_of(server, "OPTIONS", "/v1/completions", Origin=origin)[0] == 403


@pytest.fixture(scope="module")
def strict(model, tmp_path_factory):
    run = save_model(tmp_path_factory.mktemp("strict") / "tiny", model)
    options = ("--api-key", "s3cret", "--cors", "https://good.example", "--allow-host", "box.local")
    with serving("-r", run, *options) as server:
        yield server


def test_every_address_needs_the_key(strict):
    password = base64.b64encode(b"any:s3cret").decode()
    for path in ("/", "/v1/models", "/health"):
        for key in ("Bearer s3cret", "bearer s3cret", f"Basic {password}"):
            assert status_of(strict, path=path, Authorization=key)[0] == 200
        for key in ("", "Bearer", "Bearer s3cre", "Bearer s3cret\xe9", "Basic s3cret", "Basic %%"):
            found, headers = status_of(strict, path=path, Authorization=key)
            assert found == 401
            assert headers["www-authenticate"] == 'Basic realm="charlstm"'


def test_a_named_site_and_a_named_host_are_let_in_with_the_key(strict):
    key = {"Authorization": "Bearer s3cret"}
    found, headers = status_of(strict, Origin="https://good.example", Host="box.local:80", **key)
    assert (found, headers["access-control-allow-origin"]) == (200, "https://good.example")
    asked, headers = status_of(
        strict, "OPTIONS", "/v1/completions", Origin="https://good.example", Host="box.local"
    )
    assert asked == 204
    assert "authorization" in headers["access-control-allow-headers"]
    assert status_of(strict, Origin="https://good.example")[0] == 401
    assert status_of(strict, Origin="https://bad.example", **key)[0] == 403


def test_answers_may_not_be_framed_or_guessed(server):
    _, headers, body = server.request("GET", "/")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert b"<!doctype html>" in body
