"""Server-sent events: each once and in order, over broken connections, ended with the token or the process."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.chassis.auth import SCOPES, Principal
from shared.chassis.errors import Unauthorized
from shared.chassis.http import streaming
from shared.chassis.http.app import STREAMS, Call, Endpoint, make_app
from shared.chassis.http.paging import decode_cursor, encode_cursor
from shared.chassis.http.streaming import ServerSentEvent, Stream, StreamQuery, follow
from shared.contracts.types import ViewModel

PATH = "/v1/ticks/stream"


class TickView(ViewModel):
    number: int


class Ticks:
    """A source of numbered events."""

    def __init__(self) -> None:
        self.last = 3

    async def look(self, after: int) -> Sequence[tuple[int, ServerSentEvent]]:
        numbers = range(after + 1, self.last + 1)[:2]
        return [(n, ServerSentEvent("tick", TickView(number=n), encode_cursor(n))) for n in numbers]

    async def stream_ticks(self, call: Call, query: StreamQuery) -> Stream:
        position = decode_cursor(call.last_event_id, int, path=streaming.HEADER)
        after = int(position[0]) if position else 0
        return Stream(follow(self.look, after, query.seconds))


class Tokens:
    """An authenticator whose tokens are the seconds for which they are valid."""

    async def principal(self, authorization: str | None) -> Principal:
        if authorization is None:
            raise Unauthorized
        expires_at = int(time.time() + float(authorization.removeprefix("Bearer ")))
        return Principal(1, uuid4(), SCOPES, None, expires_at)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def app(ticks: Ticks) -> web.Application:
    endpoint = Endpoint(
        "GET", PATH, ticks.stream_ticks, "Ticks as they come", query=StreamQuery, events={"tick": TickView}
    )
    return make_app([endpoint], Tokens(), body_limit_bytes=1_000)  # type: ignore[arg-type]  # a stand-in of the test


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[aiohttp.ClientSession]:
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


def headers(seconds: float = 600, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {seconds}", **{name.replace("_", "-"): value for name, value in more.items()}}


async def read(answer: aiohttp.ClientResponse, count: int) -> list[tuple[str, str]]:
    """Return id and data of the next `count` events."""
    events: list[tuple[str, str]] = []
    fields: dict[str, str] = {}
    while len(events) < count and (line := (await answer.content.readline()).decode()):
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            events.append((fields["id"], fields["data"]))
            fields = {}
    return events


async def test_existing_events_come_at_once_and_later_ones_follow(
    client: aiohttp.ClientSession, ticks: Ticks
) -> None:
    async with client.get(PATH, headers=headers()) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        assert [data for _, data in await read(answer, 3)] == [f'{{"number":{n}}}' for n in (1, 2, 3)]
        ticks.last = 5
        assert [data for _, data in await read(answer, 2)] == ['{"number":4}', '{"number":5}']


async def test_a_client_that_reconnects_gets_the_events_after_its_last(
    client: aiohttp.ClientSession, ticks: Ticks
) -> None:
    async with client.get(PATH, headers=headers()) as answer:
        last, _ = (await read(answer, 2))[-1]
    ticks.last = 4
    async with client.get(PATH, headers=headers(Last_Event_ID=last)) as answer:
        assert [data for _, data in await read(answer, 2)] == ['{"number":3}', '{"number":4}']


async def test_with_zero_seconds_a_stream_ends_after_the_existing_events(client: aiohttp.ClientSession) -> None:
    async with client.get(PATH + "?seconds=0", headers=headers()) as answer:
        assert (await answer.text()).count("event: tick") == 3


@pytest.mark.parametrize("last", ["what is that", "a" * 501, encode_cursor("a", "b")])
async def test_an_unknown_event_id_is_refused(client: aiohttp.ClientSession, last: str) -> None:
    async with client.get(PATH, headers=headers(Last_Event_ID=last)) as answer:
        assert answer.status == 422
        assert (await answer.json())["errors"][0]["path"] == "Last-Event-ID"


async def test_a_stream_ends_with_its_token(client: aiohttp.ClientSession) -> None:
    began = time.monotonic()
    async with client.get(PATH, headers=headers(2)) as answer:
        await answer.text()
    assert time.monotonic() - began < 4


async def test_a_stream_ends_when_the_process_stops(app: web.Application, client: aiohttp.ClientSession) -> None:
    async with client.get(PATH, headers=headers()) as answer:
        await read(answer, 3)
        await app[STREAMS].end_all(app)
        assert await asyncio.wait_for(read(answer, 1), 2) == []
    async with client.get(PATH, headers=headers()) as answer:
        assert answer.status == 503


async def test_streams_per_user_are_limited_and_closed_ones_make_room(
    client: aiohttp.ClientSession, ticks: Ticks
) -> None:
    open_ones = [await client.get(PATH, headers=headers()) for _ in range(streaming.MAX_PER_USER)]
    async with client.get(PATH, headers=headers()) as answer:
        assert answer.status == 429
        assert "Retry-After" in answer.headers
    for one in open_ones:
        one.close()
    for ticks.last in range(4, 12):
        await asyncio.sleep(0.5)
        async with client.get(PATH + "?seconds=0", headers=headers()) as answer:
            if answer.status == 200:
                return
    pytest.fail("a closed stream is still counted")
