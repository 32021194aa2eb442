"""The endpoint /v1/completions: answers a request, whole or as a stream of server-sent events.

A request is read and checked, takes places for its texts, and is answered with what is written of
them. A client that goes away, a request that takes too long and the end of the server cancel this
work, which frees the places at once.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

from charlstm.config.limits import Limits
from charlstm.server.completions import Completion, Message, joined
from charlstm.server.errors import RequestError, to_json
from charlstm.server.models import Models
from charlstm.server.requests import parse_request

BODY_SECONDS = 30.0  # in which the body of a request must arrive

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def _shutting_down() -> RequestError:
    return RequestError(503, "the server is shutting down", code="shutting_down")


class Places:
    """The places for texts that are written or scored at once, over all requests."""

    def __init__(self, count: int) -> None:
        self._count, self.taken = count, 0
        self.closing = False  # whether new requests are refused, as the server ends
        self.all_free = asyncio.Event()
        self.all_free.set()

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Hold some places as long as the context is open; RequestError if too few are free."""
        if self.closing:
            raise _shutting_down()
        if count > self._count:
            raise RequestError(
                400, f"a request may have {self._count} texts (prompts times n), not {count}", "n"
            )
        if self.taken + count > self._count:
            raise RequestError(
                429, "the server is writing as many texts as it may: try again", code="busy"
            )
        self.taken += count
        self.all_free.clear()
        try:
            yield
        finally:
            self.taken -= count
            if not self.taken:
                self.all_free.set()


class Completions:
    """The endpoint /v1/completions, as an application of ASGI."""

    def __init__(self, models: Models, limits: Limits, places: Places) -> None:
        self._models, self._limits, self.places = models, limits, places
        self.stopping = asyncio.Event()  # set when requests must end, as the server ends

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        try:
            body = await self._body(receive)
        except RequestError as error:
            await answer.fail(error)
            return
        if body is None:  # the client has gone
            return
        work = asyncio.create_task(self._answer(body, answer))
        gone = asyncio.ensure_future(receive())  # the next message says that the client has gone
        stop = asyncio.create_task(self.stopping.wait())
        ended = set[asyncio.Future[Any]]()
        try:
            ended, _ = await asyncio.wait(
                (work, gone, stop),
                timeout=self._limits.max_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in (work, gone, stop):
                task.cancel()
            await asyncio.wait((work, gone, stop))
        if work in ended:
            failure = work.exception()
            if isinstance(failure, RequestError):
                await answer.fail(failure)
            elif failure is not None:
                raise failure
        elif stop in ended:
            await answer.fail(_shutting_down())
        elif gone not in ended:
            limit = self._limits.max_seconds
            message = f"the request took longer than {limit:g} seconds: ask for less text"
            await answer.fail(RequestError(408, message))

    async def _body(self, receive: Receive) -> bytes | None:
        """Return the body of a request; None if the client has gone before its end."""
        parts, size = [], 0

        async def read() -> bytes | None:
            nonlocal size
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                size += len(message.get("body", b""))
                if size > self._limits.max_body:
                    raise RequestError(413, f"the body is above {self._limits.max_body:,} bytes")
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            return b"".join(parts)

        try:
            return await asyncio.wait_for(read(), BODY_SECONDS)
        except asyncio.TimeoutError:
            raise RequestError(408, "the body of the request did not arrive in time") from None

    async def _answer(self, body: bytes, answer: "_Answer") -> None:
        request = parse_request(body, self._limits)
        served = self._models.named(request.model)
        running = await served.newest()
        with self.places.take(len(request.prompts) * request.n):
            seed = secrets.randbelow(2**32) if request.seed is None else request.seed
            completion = Completion(running, request, seed, self._limits)
            facts = {
                "id": f"cmpl-{secrets.token_hex(12)}",
                "object": "text_completion",
                "created": int(time.time()),
                "model": served.name,
                "system_fingerprint": served.fingerprint,
                "seed": seed,
            }
            if request.stream:
                await self._stream(completion, facts, answer)
            else:
                async with aclosing(completion.pieces()) as pieces:
                    made = [piece async for some in pieces for piece in some]
                choices = [each.to_dict() for each in joined(made)]
                await answer.send_json(
                    200, {**facts, "choices": choices, "usage": completion.usage()}
                )

    async def _stream(self, completion: Completion, facts: Message, answer: "_Answer") -> None:
        usage = {"usage": None} if completion.request.include_usage else {}
        async with aclosing(completion.pieces()) as made:
            async for pieces in made:
                await answer.send_events(
                    {**facts, "choices": [piece.to_dict()], **usage} for piece in pieces
                )
        if usage:
            await answer.send_events([{**facts, "choices": [], "usage": completion.usage()}])
        await answer.end_events()


class _Answer:
    """The answer to a request, which may be an error also after the first events."""

    def __init__(self, send: Send) -> None:
        self._send, self._begun = send, False

    async def _begin(self, status: int, kind: bytes) -> None:
        self._begun = True
        headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
        if status == 429:
            headers.append((b"retry-after", b"1"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send_json(self, status: int, value: Any) -> None:
        await self._begin(status, b"application/json")
        await self._send({"type": "http.response.body", "body": to_json(value)})

    async def send_events(self, values: Any) -> None:
        if not self._begun:
            await self._begin(200, b"text/event-stream; charset=utf-8")
        body = b"".join(b"data: " + to_json(value) + b"\n\n" for value in values)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end_events(self) -> None:
        await self._send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def fail(self, error: RequestError) -> None:
        """Send an error: as the whole answer or, after the first events, as the last event."""
        if not self._begun:
            await self.send_json(error.status, error.to_dict())
            return
        with suppress(Exception):  # the client may have got a whole answer, or have gone
            await self.send_events([error.to_dict()])
            await self._send({"type": "http.response.body", "body": b""})
