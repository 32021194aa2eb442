"""The server itself: its socket, its start, and its end after a signal."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import uvicorn

from charlstm.config.limits import Limits
from charlstm.errors import CharlstmError
from charlstm.runs.folder import METRICS
from charlstm.server.app import Guard, make_app
from charlstm.server.endpoint import Completions, Places
from charlstm.server.models import Models
from charlstm.server.running_model import Threads
from charlstm.system.signals import StopSignals, raise_interruption
from charlstm.system.threads import Workers, available_cores, one_blas_thread

GRACE_SECONDS = 5.0  # in which texts may be finished after a signal
BACKLOG = 1024  # connections that wait to be accepted


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; CharlstmError if the address cannot be had. port 0: any."""
    try:
        # asyncio sends small answers at once only if the socket knows its protocol.
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CharlstmError(f"`host`: {host} cannot be listened at: {reason}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CharlstmError(
            f"port {port} of {host} cannot be listened at: {error.strerror}: choose another "
            "`port`, or 0 for any that is free"
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address at which a browser on this machine reaches a socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only programs on this machine reach a socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def serve(
    paths: Sequence[Path],
    listener: socket.socket,
    *,
    limits: Limits,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    key: str | None = None,
    reports: bool = False,
    started: Callable[[list[str]], None],
    warn: Callable[[str], None],
) -> None:
    """Serve the models of runs and checkpoints until a signal ends the server.

    hosts, origins, key: as in Guard. reports: whether the reports of the runs are shown.
    started: is called with the names of the models when the server is ready.
    warn: is called with each warning.
    """
    with StopSignals() as signals, one_blas_thread():
        threads = Threads(Workers(available_cores()))
        try:
            models = Models(paths, threads, warn)
            folders = {each.name: each.path for each in models if (each.path / METRICS).is_file()}
            places = Places(limits.max_samples)
            completions = Completions(models, limits, places)
            app = Guard(
                make_app(models, completions, folders if reports else {}), hosts, origins, key
            )
            started([each.name for each in models])
            _Server(app, completions, places, signals, warn).run([listener])
        finally:
            threads.close()
    raise_interruption(signals.signal_name)


class _Server(uvicorn.Server):
    """A server that ends after a signal, and lets texts be finished for a few seconds before."""

    def __init__(
        self,
        app: Guard,
        completions: Completions,
        places: Places,
        signals: StopSignals,
        warn: Callable[[str], None],
    ) -> None:
        logger = logging.getLogger("uvicorn.error")
        logger.handlers, logger.propagate = [_Log(warn)], False
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._completions, self._places, self._signals = completions, places, signals

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave the signals to StopSignals."""
        return nullcontext()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or bool(self._signals.signal_name)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._places.closing = True
        for server in self.servers:
            server.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._places.all_free.wait(), GRACE_SECONDS)
        self._completions.stopping.set()
        await super().shutdown(sockets)


class _Log(logging.Handler):
    """Shows the errors of uvicorn as warnings, without control characters."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._warn = warn

    def emit(self, record: logging.LogRecord) -> None:
        self._warn(self.format(record))
