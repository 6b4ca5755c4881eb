"""Server-sent events: live updates that a client can resume after a broken connection."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import BaseModel, Field

from shared.chassis.auth import Principal
from shared.chassis.ended_logins import EndedLogins
from shared.chassis.errors import InvalidInput, TooManyStreams, Unavailable
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS
from shared.contracts.types import QueryModel

HEADER = "Last-Event-ID"
LONGEST_ID = 500
KEEP_ALIVE_S = 15.0
POLL_EVERY_S = 1.0
RETRY_MS = 2_000
MAX_PER_USER = 20
MAX_PER_PROCESS = 1_000

P = TypeVar("P")

log = structlog.get_logger()


class StreamQuery(QueryModel):
    """Without `seconds` a stream lasts until the access token expires; with 0 it sends pending events and ends."""

    seconds: int | None = Field(default=None, ge=0, le=3_600)


@dataclass(frozen=True)
class ServerSentEvent:
    """A client that reconnects sends `id` as Last-Event-ID."""

    event: str
    data: BaseModel
    id: str

    def encoded(self) -> bytes:
        return f"id: {self.id}\nevent: {self.event}\ndata: {self.data.model_dump_json(by_alias=True)}\n\n".encode()


@dataclass(frozen=True)
class Stream:
    """The result of a handler of an endpoint with `events`."""

    events: AsyncIterator[ServerSentEvent]


async def follow(
    poll: Callable[[P], Awaitable[Sequence[tuple[P, ServerSentEvent]]]], after: P, seconds: int | None
) -> AsyncIterator[ServerSentEvent]:
    """Yield the events that `poll` finds after a position, oldest first, then new ones as they appear.

    `poll` is called again at once after it found events, otherwise after a second. New events must never get a
    position before one that was already sent, or they are missed.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            found = await poll(after)
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("stream_waits", error=repr(error))
            found = []
        for position, event in found:
            after = position
            yield event
        if not found:
            if ends is not None and time.monotonic() >= ends:
                return
            await asyncio.sleep(POLL_EVERY_S)


class Streams:
    """The streams and downloads open in this process; shutdown ends the streams."""

    def __init__(self) -> None:
        self._ended: EndedLogins | None = None
        self._stopping = False
        self._open: Counter[int] = Counter()
        self._by_login: dict[UUID | None, set[asyncio.Event]] = {}

    def check(self, user_id: int) -> None:
        """Raises TooManyStreams or Unavailable if no further stream can be opened."""
        if self._open[user_id] >= MAX_PER_USER:
            raise TooManyStreams(f"{MAX_PER_USER} are open already: close one")
        if self._stopping or self._open.total() >= MAX_PER_PROCESS:
            raise Unavailable

    @contextlib.contextmanager
    def slot(self, user_id: int) -> Iterator[None]:
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open -= Counter({user_id: 1})  # subtraction drops users at zero

    @contextlib.contextmanager
    def end_signal(self, login_id: UUID | None) -> Iterator[asyncio.Event]:
        """Yield an event that is set when the process is about to stop or this login has ended."""
        end = asyncio.Event()
        signals = self._by_login.setdefault(login_id, set())
        signals.add(end)
        # The login may have ended after its token was checked and before this stream was registered.
        if self._stopping or (self._ended and login_id and login_id in self._ended):
            end.set()
        try:
            yield end
        finally:
            signals.discard(end)
            if not signals and self._by_login.get(login_id) is signals:
                del self._by_login[login_id]

    def follow(self, ended: EndedLogins) -> None:
        """End the streams of a login when it ends."""
        self._ended = ended
        ended.watch(self.end_login)

    def end_login(self, login_id: UUID) -> None:
        for end in self._by_login.get(login_id, ()):
            end.set()

    async def end_all(self, _: web.Application) -> None:
        self._stopping = True
        for signals in self._by_login.values():
            for end in signals:
                end.set()


class EventStream(web.StreamResponse):
    """The response to one client; `write_all` writes the events as they arrive."""

    def __init__(self, stream: Stream, streams: Streams, caller: Principal) -> None:
        super().__init__(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        streams.check(caller.user_id)
        self._events = stream.events
        self._streams = streams
        self._caller = caller

    async def write_all(self, request: web.Request, write_within_s: float) -> None:
        """Write events until they end, the token expires, its login ends, the process stops or the client leaves.

        Raises TimeoutError if the client does not read, ConnectionError if it has disconnected.
        """
        with self._streams.slot(self._caller.user_id), self._streams.end_signal(self._caller.session_id) as end:
            await self._write_all(request, write_within_s, end)

    async def _write_all(self, request: web.Request, write_within_s: float, end: asyncio.Event) -> None:
        next_event = _next(self._events)
        stopping = asyncio.ensure_future(end.wait())
        try:
            await self.prepare(request)
            await self.write(f"retry: {RETRY_MS}\n\n".encode())
            while (left_s := self._caller.token_expires_at - time.time()) > 0:
                waiting: set[asyncio.Future[Any]] = {next_event, stopping}  # Any: of an event and of a flag
                pause_s = min(KEEP_ALIVE_S, left_s)
                await asyncio.wait(waiting, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    break
                text = b": nothing new\n\n"
                if next_event.done():
                    if (event := next_event.result()) is None:
                        break
                    text, next_event = event.encoded(), _next(self._events)
                async with asyncio.timeout(write_within_s):
                    await self.write(text)
            async with asyncio.timeout(write_within_s):
                await self.write_eof()
        finally:
            for task in (next_event, stopping):
                task.cancel()
            await asyncio.gather(next_event, stopping, return_exceptions=True)
            with contextlib.suppress(AttributeError):
                await self._events.aclose()  # type: ignore[attr-defined]  # a generator, wherever it is one


def _next(events: AsyncIterator[ServerSentEvent]) -> "asyncio.Future[ServerSentEvent | None]":
    return asyncio.ensure_future(anext(events, None))


def last_event_id_of(request: web.Request) -> str | None:
    """Raises InvalidInput."""
    given = request.headers.getall(HEADER, [])
    if not given or given == [""]:
        return None
    if len(given) > 1 or len(given[0]) > LONGEST_ID or not given[0].isascii() or not given[0].isprintable():
        raise InvalidInput(errors=[{"path": HEADER, "reason": "must be given once, and be an id of this stream"}])
    return given[0]
