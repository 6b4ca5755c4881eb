"""Server-sent events: what happens as it happens, and after a broken connection from where it broke."""

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
LOOK_EVERY_S = 1.0
RETRY_MS = 2_000
MOST_OF_A_USER = 20
MOST_OF_A_PROCESS = 1_000

P = TypeVar("P")

log = structlog.get_logger()


class StreamQuery(QueryModel):
    """Without `seconds` a stream lasts until the access token ends; with 0 it gives what there is, and ends."""

    seconds: int | None = Field(default=None, ge=0, le=3_600)


@dataclass(frozen=True)
class ServerSentEvent:
    """`id` is what a client that connects again sends as Last-Event-ID."""

    event: str
    data: BaseModel
    id: str

    def encoded(self) -> bytes:
        return f"id: {self.id}\nevent: {self.event}\ndata: {self.data.model_dump_json(by_alias=True)}\n\n".encode()


@dataclass(frozen=True)
class Stream:
    """What a handler of an endpoint with `stream` answers."""

    events: AsyncIterator[ServerSentEvent]


async def follow(
    look: Callable[[P], Awaitable[Sequence[tuple[P, ServerSentEvent]]]], after: P, seconds: int | None
) -> AsyncIterator[ServerSentEvent]:
    """What `look` finds beyond a position, oldest first, and then what comes; it is asked again when it found some,
    else after a second. A position must never come to stand before one that was shown already.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            found = await look(after)
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("stream_waits", error=repr(error))
            found = []
        for position, event in found:
            after = position
            yield event
        if not found:
            if ends is not None and time.monotonic() >= ends:
                return
            await asyncio.sleep(LOOK_EVERY_S)


class Streams:
    """Those that are open in this process; told to end before it does."""

    def __init__(self) -> None:
        self._ended: EndedLogins | None = None
        self._stopping = False
        self._open: Counter[int] = Counter()
        self._of_login: dict[UUID | None, set[asyncio.Event]] = {}

    def check(self, user_id: int) -> None:
        """Whether there is room for one more. Raises TooManyStreams, Unavailable."""
        if self._open[user_id] >= MOST_OF_A_USER:
            raise TooManyStreams(f"{MOST_OF_A_USER} are open already: close one")
        if self._stopping or self._open.total() >= MOST_OF_A_PROCESS:
            raise Unavailable

    @contextlib.contextmanager
    def one_more(self, user_id: int) -> Iterator[None]:
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open -= Counter({user_id: 1})  # whoever has none is forgotten

    @contextlib.contextmanager
    def told_to_end(self, login_id: UUID | None) -> Iterator[asyncio.Event]:
        """Set when the process is to stop, or this login has ended."""
        end = asyncio.Event()
        of_login = self._of_login.setdefault(login_id, set())
        of_login.add(end)
        # It may have ended after its token was looked at, and before this stream was there to be told.
        if self._stopping or (self._ended and login_id and login_id in self._ended):
            end.set()
        try:
            yield end
        finally:
            of_login.discard(end)
            if not of_login and self._of_login.get(login_id) is of_login:
                del self._of_login[login_id]

    def follow(self, ended: EndedLogins) -> None:
        """Have the streams of a login end with it."""
        self._ended = ended
        ended.watch(self.end_of_login)

    def end_of_login(self, login_id: UUID) -> None:
        for end in self._of_login.get(login_id, ()):
            end.set()

    async def end_all(self, _: web.Application) -> None:
        self._stopping = True
        for of_login in self._of_login.values():
            for end in of_login:
                end.set()


class EventStream(web.StreamResponse):
    """The answer to one client, written by `write_all` as events come."""

    def __init__(self, stream: Stream, streams: Streams, who: Principal) -> None:
        super().__init__(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        streams.check(who.user_id)
        self._events = stream.events
        self._streams = streams
        self._who = who

    async def write_all(self, request: web.Request, write_within_s: float) -> None:
        """Until the events end, the token or its login does, the process is to stop, or the client is gone.

        Raises TimeoutError where the client does not read, ConnectionError where it has gone.
        """
        with self._streams.one_more(self._who.user_id), self._streams.told_to_end(self._who.session_id) as end:
            await self._write_all(request, write_within_s, end)

    async def _write_all(self, request: web.Request, write_within_s: float, end: asyncio.Event) -> None:
        coming = _next(self._events)
        stopping = asyncio.ensure_future(end.wait())
        try:
            await self.prepare(request)
            await self.write(f"retry: {RETRY_MS}\n\n".encode())
            while (left_s := self._who.token_expires_at - time.time()) > 0:
                waiting: set[asyncio.Future[Any]] = {coming, stopping}  # Any: of an event and of a flag
                pause_s = min(KEEP_ALIVE_S, left_s)
                await asyncio.wait(waiting, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    break
                text = b": nothing new\n\n"
                if coming.done():
                    if (event := coming.result()) is None:
                        break
                    text, coming = event.encoded(), _next(self._events)
                async with asyncio.timeout(write_within_s):
                    await self.write(text)
            async with asyncio.timeout(write_within_s):
                await self.write_eof()
        finally:
            for task in (coming, stopping):
                task.cancel()
            await asyncio.gather(coming, stopping, return_exceptions=True)
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
        raise InvalidInput(errors=[{"path": HEADER, "reason": "must stand once, and be an id of this stream"}])
    return given[0]
