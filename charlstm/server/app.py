"""The application: its routes, and the checks that every request passes before them."""

import hmac
import ipaddress
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Collection
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from charlstm.errors import CharlstmError
from charlstm.pages.playground import playground_on_server
from charlstm.runs.report import report_page, run_data
from charlstm.server.endpoint import Completions, Receive, Send
from charlstm.server.errors import RequestError, to_json
from charlstm.server.models import Models

Application = Callable[[Any, Receive, Send], Awaitable[None]]


def make_app(models: Models, completions: Completions, reports: dict[str, Path]) -> Starlette:
    """Return the application without its guard.

    reports: the folders of the runs whose reports are shown under /runs/, by name.
    """

    async def list_models(request: Request) -> Response:
        for served in models:
            await served.newest()
        return _json(200, {"object": "list", "data": [served.to_dict() for served in models]})

    async def one_model(request: Request) -> Response:
        served = models.named(request.path_params["name"])
        await served.newest()
        return _json(200, served.to_dict())

    async def playground(request: Request) -> Response:
        return HTMLResponse(playground_on_server())

    async def health(request: Request) -> Response:
        return _json(200, {"status": "ok", "texts": completions.places.taken})

    async def list_reports(request: Request) -> Response:
        links = "".join(
            f'<li><a href="{quote(name, safe="")}">{escape(name)}</a></li>'
            for name in sorted(reports)
        )
        return HTMLResponse(
            f'<!doctype html><html lang="en"><title>Runs</title><h1>Runs</h1><ul>{links}</ul>',
            headers={"content-security-policy": "default-src 'none'"},
        )

    async def report(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in reports:
            raise RequestError(404, "no run of this name is served")
        try:
            data, _, _ = await run_in_threadpool(run_data, reports[name])
        except CharlstmError:
            raise RequestError(404, "the run has no report: it has no events") from None
        return HTMLResponse(report_page([data]))

    routes = [
        Route("/", playground),
        Route("/health", health),
        Route("/v1/models", list_models),
        Route("/v1/models/{name:path}", one_model),
        Route("/v1/completions", completions, methods=["POST"]),
    ]
    if reports:
        routes += [Route("/runs/", list_reports), Route("/runs/{name}", report)]
    handlers: dict[Any, Any] = {
        RequestError: _refused,
        HTTPException: _not_found,
        Exception: _failed,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


def _json(status: int, value: Any) -> Response:
    return Response(to_json(value), status, media_type="application/json")


async def _refused(request: Request, error: RequestError) -> Response:
    return _json(error.status, error.to_dict())


async def _not_found(request: Request, error: HTTPException) -> Response:
    messages = {404: "nothing is served at this address", 405: "this address takes another method"}
    message = messages.get(error.status_code, "the request is refused")
    return _json(error.status_code, RequestError(error.status_code, message).to_dict())


async def _failed(request: Request, error: Exception) -> Response:
    return _json(500, RequestError(500, "the server has failed: its log says more").to_dict())


class Guard:
    """Lets in requests that name this server, come from no other site, and have the key.

    A page of another site can reach a server on this machine through the browser of its visitor. If
    the name of the site is made to lead here (DNS rebinding), the header Host has that name;
    otherwise the header Origin names the site.

    hosts: the names that Host may have, beside localhost and addresses in numbers, which no site
        can make its own. origins: the sites whose pages may use the server. key: None for none.
    """

    def __init__(
        self,
        app: Application,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        key: str | None = None,
    ) -> None:
        self._app, self._origins = app, origins
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        shared = origin in self._origins

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_headers(origin, shared)]}
            await send(message)

        refused = self._refusal(scope, headers, origin)
        if refused is not None:
            response = _json(refused.status, refused.to_dict())
            if refused.status == 401:  # A browser then asks for the key, as the password.
                response.headers["www-authenticate"] = 'Basic realm="charlstm"'
            await response(scope, receive, send_guarded)
        elif shared and scope["method"] == "OPTIONS":
            await Response(status_code=204)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _refusal(self, scope: Any, headers: dict[bytes, bytes], origin: str) -> RequestError | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            return RequestError(403, "the header Host is none of this server's names")
        own = origin.partition("://")[2] == host
        if origin and not own and origin not in self._origins:
            return RequestError(403, "pages of other sites may not use this server")
        if self._key is None or (origin in self._origins and scope["method"] == "OPTIONS"):
            return None
        given = _key_of(headers.get(b"authorization", b""))
        if not hmac.compare_digest(given, self._key):
            return RequestError(401, "the key is missing or wrong", code="invalid_api_key")
        return None

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name = host
        name = name.lower().removesuffix(".")
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name[1:-1] if name[:1] == "[" and name[-1:] == "]" else name)
        except ValueError:
            return False
        return True


def _headers(origin: str, shared: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer gets. shared: whether `origin` may use the server."""
    headers = [
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
    ]
    if shared:
        headers += [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"vary", b"origin"),
        ]
    return headers


def _key_of(authorization: bytes) -> bytes:
    """Return the key of a header Authorization: after Bearer, or the password after Basic."""
    kind, _, rest = authorization.partition(b" ")
    if kind.lower() == b"bearer":
        return rest.strip()
    if kind.lower() == b"basic":
        try:
            return b64decode(rest).partition(b":")[2]
        except Base64Error:
            return b""
    return b""
