"""A file that is produced while it is sent: complete, or visibly broken off."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.chassis.errors import Unavailable
from shared.chassis.http import streaming
from shared.chassis.http.app import Call, Endpoint, make_app
from shared.chassis.http.downloads import Download
from shared.chassis.http.openapi import describe
from shared.chassis.http.transport import ANSWER_WITHIN_S
from tests.integration.chassis.test_streams import Tokens, headers
from tests.pace import patient

PATH = "/v1/numbers/export"


class Numbers:
    """Produces `parts` parts, and fails at part `fails_at`."""

    def __init__(self) -> None:
        self.parts = 3
        self.size = 10
        self.made = 0
        self.closed = 0
        self.fails_at: int | None = None
        self.wait = asyncio.Event()
        self.wait.set()

    async def export_numbers(self, call: Call) -> Download:
        if self.fails_at == 0:
            raise Unavailable
        return Download("numbers.csv", b"number\r\n", self._rest())

    async def _rest(self) -> AsyncIterator[bytes]:
        try:
            for number in range(self.parts):
                await self.wait.wait()
                if number + 1 == self.fails_at:
                    raise ConnectionResetError("the database has gone")
                self.made += 1
                yield str(number % 10).encode() * self.size
        finally:
            self.closed += 1


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
async def app(numbers: Numbers) -> web.Application:
    endpoint = Endpoint("GET", PATH, numbers.export_numbers, "Numbers", media="text/csv")
    app = make_app([endpoint], Tokens(), body_limit_bytes=1_000)  # type: ignore[arg-type]  # a stand-in of the test
    app[ANSWER_WITHIN_S] = 2.0
    return app


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[aiohttp.ClientSession]:
    async with TestServer(app) as server:
        async with aiohttp.ClientSession(server.make_url("/"), read_bufsize=1_024) as session:
            yield session


async def test_a_download_is_sent_in_parts_under_its_name(client: aiohttp.ClientSession) -> None:
    async with client.get(PATH, headers=headers()) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="numbers.csv"'
        assert "X-Request-Id" in answer.headers
        assert await answer.text() == "number\r\n" + "0" * 10 + "1" * 10 + "2" * 10


async def test_a_failure_before_the_first_byte_is_a_problem(
    client: aiohttp.ClientSession, numbers: Numbers
) -> None:
    numbers.fails_at = 0
    async with client.get(PATH, headers=headers()) as answer:
        assert (answer.status, answer.content_type) == (503, "application/problem+json")


async def test_a_later_failure_breaks_the_download_off(client: aiohttp.ClientSession, numbers: Numbers) -> None:
    numbers.fails_at = 3
    with pytest.raises(aiohttp.ClientError):
        async with client.get(PATH, headers=headers()) as answer:
            await answer.text()
    assert numbers.closed == 1


async def test_parts_are_produced_only_as_they_are_read(client: aiohttp.ClientSession, numbers: Numbers) -> None:
    """The file has two hundred megabytes; the kernel's buffers take a few of them."""
    numbers.parts, numbers.size = 2_000, 100_000
    async with client.get(PATH, headers=headers()) as answer:
        await answer.content.read(10)
        async with asyncio.timeout(patient(10)):
            while not numbers.closed:  # the client takes longer than allowed for one write
                await asyncio.sleep(0.05)
        assert numbers.made < 400
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_a_client_that_disconnects_leaves_nothing_open(
    client: aiohttp.ClientSession, numbers: Numbers
) -> None:
    numbers.parts, numbers.size = 2_000, 100_000
    answer = await client.get(PATH, headers=headers())
    answer.close()
    async with asyncio.timeout(patient(10)):
        while not numbers.closed:
            await asyncio.sleep(0.05)


async def test_downloads_per_user_are_limited(client: aiohttp.ClientSession, numbers: Numbers) -> None:
    numbers.wait.clear()
    open_ones = [await client.get(PATH, headers=headers()) for _ in range(streaming.MAX_PER_USER)]
    async with client.get(PATH, headers=headers()) as answer:
        assert answer.status == 429
    numbers.wait.set()
    assert [(await one.text())[-1] for one in open_ones] == ["2"] * streaming.MAX_PER_USER


def test_openapi_documents_media_type_and_file_name(numbers: Numbers) -> None:
    endpoint = Endpoint("GET", PATH, numbers.export_numbers, "Numbers", media="text/csv")
    paths: Any = describe("numbers", [endpoint])["paths"]
    answers = paths[PATH]["get"]["responses"]
    assert answers["200"]["content"] == {"text/csv": {"schema": {"type": "string"}, "example": ""}}
    assert "Content-Disposition" in answers["200"]["headers"]
    assert {"401", "429", "503"} <= set(answers)
