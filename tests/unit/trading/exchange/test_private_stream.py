"""The private stream over real sockets: whatever breaks, it returns, and reports that hints may be missing."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web
from structlog.testing import capture_logs

from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.private_stream import PrivateStream, StreamGap, StreamItem, StreamPace
from services.trading.exchange.signing_clock import SigningClock
from services.trading.exchange.venue import VenueExecution, VenueOrder, VenuePosition, VenueWallet
from services.trading.supervised_socket_api import StreamBroken
from tests.integration.accounts import eventually
from tests.unit.trading.exchange.rows import Row, execution_row, order_row, position_row, wallet_row
from tests.unit.trading.exchange.server import KEY, SECRET

QUICK = StreamPace(ping_every_s=0.2, silence_s=1.0, answer_within_s=1.0)
Message = dict[str, object]


class Server:
    """Acknowledges at once; `answers` can refuse (False) or stay silent (None) instead."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.received: list[Message] = []
        self.answers: Callable[[Message], bool | None] = lambda _: True
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v5/private"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v5/private", self._handle)
        app.on_shutdown.append(self.drop)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def shut_down(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def drop(self, _: object = None) -> None:
        for socket in list(self.sockets):
            await socket.close()

    async def _handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                asked = json.loads(message.data)
                self.received.append(asked)
                if (accepted := self.answers(asked)) is not None:
                    await socket.send_json(_answer(asked, accepted))
        self.sockets.remove(socket)
        return socket

    async def send(self, topic: str, *rows: Row) -> None:
        await self.send_text(json.dumps({"id": "1", "topic": topic, "creationTime": 1, "data": list(rows)}))

    async def send_text(self, text: str) -> None:
        for socket in self.sockets:
            await socket.send_str(text)

    def asked(self, operation: str) -> list[Message]:
        return [message for message in self.received if message["op"] == operation]


def _answer(asked: Message, accepted: bool) -> Message:
    if asked["op"] == "ping":
        return {"req_id": "", "op": "pong", "args": ["1"], "conn_id": "c"}
    words = "" if accepted else "Params Error"
    return {
        "success": accepted,
        "ret_msg": words,
        "op": asked["op"],
        "conn_id": "c",
        "req_id": asked.get("req_id", ""),
    }


class Received(list[StreamItem]):
    def gaps(self) -> list[str]:
        return [item.reason for item in self if isinstance(item, StreamGap)]

    async def until(self, count: int) -> None:
        async def look() -> int:
            return len(self)

        await eventually(look, lambda seen: seen >= count, 15)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.shut_down()


async def admit() -> None:
    """Every connection may be opened."""


@asynccontextmanager
async def streaming(
    server: Server,
    clock: SigningClock | None = None,
    pace: StreamPace = QUICK,
    admit: Callable[[], Awaitable[None]] = admit,
) -> AsyncIterator[tuple[PrivateStream, Received]]:
    received, stop, threads = Received(), asyncio.Event(), ThreadPoolExecutor(2)
    credentials = Credentials(KEY, SECRET)
    stream = PrivateStream(
        server.url,
        credentials,
        clock or SigningClock(),
        threads,
        received.append,
        admit,
        pace,
    )
    running = asyncio.create_task(stream.run(stop))
    try:
        yield stream, received
    finally:
        stop.set()
        await running
        threads.shutdown()


async def test_every_kind_of_hint_arrives_after_the_first_gap(server: Server) -> None:
    async with streaming(server) as (stream, received):
        await received.until(1)
        await server.send("order", order_row(), order_row(category="spot"))
        await server.send("execution", execution_row(1, category="linear"))
        await server.send("position", {**position_row(), "entryPrice": "1"})
        await server.send("wallet", wallet_row(), wallet_row(coin=[]))
        await received.until(5)
        assert [type(item) for item in received] == [
            *(StreamGap, VenueOrder, VenueExecution, VenuePosition, VenueWallet)
        ]
        assert stream.is_live
        (subscribed,) = server.asked("subscribe")
        assert subscribed["args"] == ["order", "execution", "position", "wallet"]


async def test_the_key_signs_by_the_exchanges_clock(server: Server) -> None:
    clock = SigningClock()
    clock.correct(clock.now_ms() + 3_600_000)
    async with streaming(server, clock) as (_, received):
        await received.until(1)
        (login,) = server.asked("auth")
        arguments = login["args"]
        assert isinstance(arguments, list)
        key, expires, signature = arguments
        assert key == KEY
        assert 5_000 < expires - 3_600_000 - time.time() * 1000 <= 10_000
        expected = hmac.new(SECRET.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        assert signature == expected


async def test_a_dropped_connection_returns_with_a_gap(server: Server) -> None:
    async with streaming(server) as (_, received):
        await received.until(1)
        await server.drop()
        await received.until(2)
        assert received.gaps() == ["connected", "connected"]


async def test_a_server_that_was_down_is_connected_again(server: Server) -> None:
    async with streaming(server) as (_, received):
        await received.until(1)
        await server.shut_down()
        await asyncio.sleep(0.5)
        await server.start()
        await received.until(2)
        await server.send("order", order_row())
        await received.until(3)


async def test_a_silent_connection_is_rebuilt(server: Server) -> None:
    async with streaming(server) as (_, received):
        await received.until(1)
        server.answers = lambda asked: None if asked["op"] == "ping" else True
        await received.until(2)
        assert len(server.asked("subscribe")) == 2


async def test_pings_keep_a_connection_without_hints_open(server: Server) -> None:
    async with streaming(server) as (_, received):
        await received.until(1)
        await asyncio.sleep(1.5)
        assert (received.gaps(), len(server.sockets)) == (["connected"], 1)
        assert len(server.asked("ping")) >= 4


@pytest.mark.parametrize("operation", ["auth", "subscribe"])
async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(server: Server, operation: str) -> None:
    ignored = iter([None])
    server.answers = lambda asked: next(ignored, True) if asked["op"] == operation else True
    async with streaming(server) as (_, received):
        await received.until(1)
        assert len(server.asked(operation)) == 2


async def test_a_refused_key_is_not_tried_again_at_once(server: Server) -> None:
    server.answers = lambda asked: asked["op"] != "auth"
    with capture_logs() as logs:
        async with streaming(server) as (stream, received):
            await asyncio.sleep(1.5)
            assert (received, stream.is_live, len(server.asked("auth"))) == ([], False, 1)
    assert "the exchange refuses the key: Params Error" in str(logs)
    assert SECRET not in str(logs)


async def test_a_hint_that_cannot_be_read_is_a_gap(server: Server) -> None:
    async with streaming(server) as (_, received):
        await received.until(1)
        await server.send("order", order_row(orderStatus="Dreaming"))
        await server.send("position", position_row(positionIdx=1))
        await server.send_text(json.dumps({"topic": "order", "data": 5}))
        await server.send_text(json.dumps({"topic": "greeks", "data": []}))
        await server.send("order", order_row())
        await received.until(5)
        assert received.gaps() == ["connected", "unreadable", "unreadable", "unreadable"]
        assert isinstance(received[-1], VenueOrder)


async def test_a_message_that_is_not_json_causes_a_reconnection(server: Server) -> None:
    async with streaming(server) as (_, received):
        await received.until(1)
        await server.send_text("{")
        await received.until(2)


async def test_no_connection_is_opened_without_the_budget(server: Server) -> None:
    allowed = iter([StreamBroken("the budget of connections is used up"), None])

    async def admit() -> None:
        if refusal := next(allowed):
            raise refusal

    async with streaming(server, admit=admit) as (_, received):
        await received.until(1)
        assert next(allowed, "used up") == "used up"
