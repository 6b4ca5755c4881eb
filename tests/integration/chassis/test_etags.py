"""A resource with an ETag is not sent twice, and not changed by a client with a stale one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from shared.chassis.http.app import Call, Endpoint, Reply, make_app, tagged
from shared.chassis.http.etags import etag_of
from shared.contracts.types import ViewModel


class NoteView(ViewModel):
    version: int


class Notes:
    """One note, initially at version 3."""

    def __init__(self) -> None:
        self.version = 3

    async def get_note(self, _: Call) -> Reply[NoteView]:
        return tagged(NoteView(version=self.version), self.version)

    async def change_note(self, call: Call) -> Reply[NoteView]:
        call.if_match.check(self.version)
        self.version += 1
        return tagged(NoteView(version=self.version), self.version)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    notes = Notes()
    endpoints = [
        Endpoint("GET", "/v1/note", notes.get_note, "Get", response=NoteView, public=True, tagged=True),
        Endpoint("PUT", "/v1/note", notes.change_note, "Change", response=NoteView, public=True, tagged=True),
    ]
    app = make_app(endpoints, None, body_limit_bytes=100_000)
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


@pytest.mark.parametrize(
    ("given", "status"),
    [('"3"', 304), ('W/"3"', 304), ('"1", "3"', 304), ("*", 304), ('"2"', 200), ("3", 422), ('"a" "b"', 422)],
)
async def test_an_unchanged_resource_is_not_sent_again(
    client: aiohttp.ClientSession, given: str, status: int
) -> None:
    async with client.get("/v1/note", headers={"If-None-Match": given}) as answer:
        assert answer.status == status
        if status != 422:
            assert answer.headers["ETag"] == '"3"'
            assert await answer.text() == ("" if status == 304 else '{"version":3}')


@pytest.mark.parametrize(
    ("given", "status"), [('"3"', 200), ("*", 200), ('"1", "3"', 200), ('"2"', 412), ('W/"3"', 412), ("3", 422)]
)
async def test_a_stale_etag_changes_nothing(client: aiohttp.ClientSession, given: str, status: int) -> None:
    async with client.put("/v1/note", headers={"If-Match": given}) as answer:
        assert answer.status == status
    async with client.get("/v1/note") as after:
        assert after.headers["ETag"] == ('"4"' if status == 200 else '"3"')


async def test_the_second_change_of_one_state_is_refused(client: aiohttp.ClientSession) -> None:
    statuses = []
    for _ in range(2):
        async with client.put("/v1/note", headers={"If-Match": '"3"'}) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 412]


async def test_without_the_header_a_change_is_unconditional(client: aiohttp.ClientSession) -> None:
    async with client.put("/v1/note") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("given", "status"), [('"3.18f2c"', 200), ('"3.0"', 200), ('"2.18f2c"', 412), ('"3.x"', 412)]
)
async def test_the_volatile_part_of_a_tag_does_not_block_a_change(
    client: aiohttp.ClientSession, given: str, status: int
) -> None:
    async with client.put("/v1/note", headers={"If-Match": given}) as answer:
        assert answer.status == status


def test_the_volatile_part_makes_another_tag() -> None:
    moments = [datetime(2026, 1, 31, 9, 30, second, tzinfo=UTC) for second in (1, 2)]
    one, other = (etag_of(3, moment) for moment in moments)
    assert one != other
    assert one.startswith('"3.')


def test_a_time_is_a_state_to_the_microsecond() -> None:
    moment = datetime(2026, 1, 31, 9, 30, 0, 1, UTC)
    assert etag_of(moment) != etag_of(moment.replace(microsecond=2))
