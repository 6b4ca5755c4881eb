"""What has an ETag is not sent twice, and not changed by who has not seen its state."""

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
    """One note, at version 3 to begin with."""

    def __init__(self) -> None:
        self.version = 3

    async def get_note(self, _: Call) -> Reply:
        return tagged(NoteView(version=self.version), self.version)

    async def change_note(self, call: Call) -> Reply:
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
async def test_what_the_client_has_is_not_sent_again(
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
async def test_who_has_not_seen_the_state_changes_nothing(
    client: aiohttp.ClientSession, given: str, status: int
) -> None:
    async with client.put("/v1/note", headers={"If-Match": given}) as answer:
        assert answer.status == status
    async with client.get("/v1/note") as after:
        assert after.headers["ETag"] == ('"4"' if status == 200 else '"3"')


async def test_of_two_that_saw_the_same_state_the_second_is_told(client: aiohttp.ClientSession) -> None:
    statuses = []
    for _ in range(2):
        async with client.put("/v1/note", headers={"If-Match": '"3"'}) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 412]


async def test_without_the_header_it_is_changed(client: aiohttp.ClientSession) -> None:
    async with client.put("/v1/note") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("given", "status"), [('"3.18f2c"', 200), ('"3.0"', 200), ('"2.18f2c"', 412), ('"3.x"', 412)]
)
async def test_what_changes_by_itself_is_in_nobodys_way(
    client: aiohttp.ClientSession, given: str, status: int
) -> None:
    async with client.put("/v1/note", headers={"If-Match": given}) as answer:
        assert answer.status == status


def test_what_changes_by_itself_makes_another_tag() -> None:
    moments = [datetime(2026, 1, 31, 9, 30, second, tzinfo=UTC) for second in (1, 2)]
    one, other = (etag_of(3, moment) for moment in moments)
    assert one != other
    assert one.startswith('"3.')


def test_a_time_is_a_state_to_the_microsecond() -> None:
    moment = datetime(2026, 1, 31, 9, 30, 0, 1, UTC)
    assert etag_of(moment) != etag_of(moment.replace(microsecond=2))
