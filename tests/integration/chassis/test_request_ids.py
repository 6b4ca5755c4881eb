"""Each request has an id from the server: in its answer of any kind, and in every line logged because of it."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import aiohttp
import pytest
import structlog
from aiohttp.test_utils import TestServer

from shared.chassis.errors import Conflict
from shared.chassis.http.app import Call, Endpoint, make_app
from shared.chassis.telemetry import configure_logging
from shared.contracts.types import BodyModel, ViewModel

ID_OF_CLIENT = "0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21"


class NoteBody(BodyModel):
    note: str


class NoteView(ViewModel):
    note: str


async def log_much(call: Call) -> NoteView:
    structlog.get_logger().info("in the handler")
    await asyncio.sleep(0)
    logging.getLogger("another.library").warning("through the standard library")
    await asyncio.to_thread(structlog.get_logger().info, "in a thread")
    await asyncio.create_task(_log_in_a_task())
    return NoteView(note="done")


async def _log_in_a_task() -> None:
    structlog.get_logger().info("in a task")


async def take_note(_: Call, body: NoteBody) -> NoteView:
    return NoteView(note=body.note)


async def fail(_: Call) -> None:
    raise RuntimeError


async def lose_the_database(_: Call) -> None:
    raise ConnectionResetError


async def refuse(_: Call) -> None:
    raise Conflict


ENDPOINTS = [
    Endpoint("GET", "/v1/logging", log_much, "Log", response=NoteView, public=True),
    Endpoint("POST", "/v1/notes", take_note, "Take", response=NoteView, body=NoteBody, public=True),
    Endpoint("GET", "/v1/failing", fail, "Fail", public=True),
    Endpoint("GET", "/v1/lost", lose_the_database, "Lose", public=True),
    Endpoint("GET", "/v1/refused", refuse, "Refuse", public=True),
]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The log that a service would write."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    configure_logging("test", stream=stream)
    yield stream
    structlog.contextvars.clear_contextvars()
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
async def client(logged: io.StringIO) -> AsyncIterator[aiohttp.ClientSession]:
    app = make_app(ENDPOINTS, None, body_limit_bytes=1_000)
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


def lines_of(logged: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "lines"),
    [
        ("GET", "/v1/logging", None, 200, 5),
        ("POST", "/v1/notes", b'{"note": "x"}', 200, 1),
        ("POST", "/v1/notes", b"{", 400, 1),
        ("GET", "/nothing", None, 404, 1),
        ("DELETE", "/v1/notes", None, 405, 1),
        ("GET", "/v1/refused", None, 409, 1),
        ("POST", "/v1/notes", b"x" * 2_000, 413, 1),
        ("POST", "/v1/notes", b"{}", 422, 1),
        ("GET", "/v1/failing", None, 500, 2),
        ("GET", "/v1/lost", None, 503, 4),  # tried three times
    ],
)
async def test_answer_and_log_have_the_same_id(
    client: aiohttp.ClientSession,
    logged: io.StringIO,
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    lines: int,
) -> None:
    headers = {"Content-Type": "application/json", "X-Request-Id": ID_OF_CLIENT}
    async with client.request(method, path, data=body, headers=headers) as answer:
        shown = await answer.json(content_type=None)
    name = answer.headers["X-Request-Id"]
    assert answer.status == status
    assert UUID(name).version == 7
    assert shown.get("request_id", name) == name
    assert [line.get("request_id") for line in lines_of(logged)] == [name] * lines
    assert ID_OF_CLIENT not in logged.getvalue() + json.dumps(shown) + str(answer.headers)


async def test_concurrent_requests_keep_their_ids(client: aiohttp.ClientSession, logged: io.StringIO) -> None:
    async def ask() -> str:
        async with client.get("/v1/logging") as answer:
            return answer.headers["X-Request-Id"]

    names = await asyncio.gather(*(ask() for _ in range(20)))
    by_name = {name: [line for line in lines_of(logged) if line["request_id"] == name] for name in names}
    assert len(by_name) == 20
    assert {len(lines) for lines in by_name.values()} == {5}


async def test_a_transient_problem_has_retry_after_in_header_and_body(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/lost") as answer:
        shown = await answer.json(content_type=None)
    assert (answer.headers["Retry-After"], shown["retry_after_s"]) == ("1", 1)


async def test_a_refusal_is_logged_by_its_type(client: aiohttp.ClientSession, logged: io.StringIO) -> None:
    async with client.get("/v1/refused"):
        pass
    assert lines_of(logged)[-1]["problem"] == "conflict"
