"""pybit's WebSocket over real sockets, including its own faults: none of them ends our stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web
from structlog.testing import capture_logs

from services.trading.bybit_stream_api import BarUpdate, MarketStream
from tests.integration.accounts import eventually

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
ITEM = {
    "start": START_MS,
    "open": "10",
    "close": "11",
    "high": "12",
    "low": "9",
    "volume": "3",
    "confirm": True,
}


def push(topic: str, **changes: object) -> str:
    return json.dumps({"topic": topic, "data": [{**ITEM, **changes}], "ts": 1767225660000, "type": "snapshot"})


class Server:
    """Acknowledges at once, which pybit itself does not survive; `answers` can refuse or stay silent instead."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.received: list[dict[str, object]] = []
        self.answers: Callable[[dict[str, object]], bool | None] = lambda _: True
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v5/public/linear"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v5/public/linear", self._handle)
        app.on_shutdown.append(self._drop)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def shut_down(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _drop(self, _: web.Application) -> None:
        for socket in self.sockets:
            await socket.close()

    async def _handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                asked = json.loads(message.data)
                self.received.append(asked)
                if asked["op"] != "ping" and (ok := self.answers(asked)) is not None:
                    ack = {
                        "success": ok,
                        "ret_msg": "",
                        "conn_id": "c",
                        "op": asked["op"],
                        "req_id": asked["req_id"],
                    }
                    await socket.send_json(ack)
        self.sockets.remove(socket)
        return socket

    async def send(self, text: str) -> None:
        for socket in self.sockets:
            await socket.send_str(text)

    def subscribed(self) -> list[str]:
        return [str(topic) for asked in self.received if asked["op"] == "subscribe" for topic in _topics(asked)]


def _topics(asked: dict[str, object]) -> list[object]:
    topics = asked["args"]
    assert isinstance(topics, list)
    return topics


class Received:
    def __init__(self) -> None:
        self.updates: list[BarUpdate] = []
        self.accepted: list[str] = []

    async def until(self, accepted: int = 0, updates: int = 0) -> None:
        async def look() -> tuple[int, int]:
            return len(self.accepted), len(self.updates)

        await eventually(look, lambda seen: seen[0] >= accepted and seen[1] >= updates, 15)


@asynccontextmanager
async def streaming(server: Server, *symbols: str) -> AsyncIterator[tuple[MarketStream, Received]]:
    received, stop = Received(), asyncio.Event()
    stream = MarketStream(server.url, received.updates.append, lambda symbol, _: received.accepted.append(symbol))
    stream.set_series({(symbol, "1") for symbol in symbols})
    await server.start()
    stream._url = server.url
    running = asyncio.create_task(stream.run(stop))
    try:
        yield stream, received
    finally:
        stop.set()
        await running
        await server.shut_down()


async def test_an_acknowledgement_faster_than_pybit_registers_does_not_kill_the_socket() -> None:
    server = Server()
    symbols = [f"S{number}USDT" for number in range(60)]
    async with streaming(server, *symbols) as (_, received):
        await received.until(accepted=60)
        assert sorted(received.accepted) == sorted(symbols)
        await server.send(push("kline.1.S7USDT"))
        await received.until(updates=1)
        (update,) = received.updates
        assert (update.symbol, update.interval, update.confirmed) == ("S7USDT", "1", True)


async def test_messages_that_are_not_bars_are_ignored() -> None:
    server = Server()
    async with streaming(server, "BTCUSDT") as (_, received):
        await received.until(accepted=1)
        topic = "kline.1.BTCUSDT"
        for bad in (
            push(topic, open="NaN"),
            push(topic, start="x"),
            push("kline.1.OTHER"),
            json.dumps({"topic": topic}),
            json.dumps({"topic": topic, "data": 5}),
            json.dumps({"op": "subscribe", "success": True, "req_id": "nobody's"}),
            push(topic),
        ):
            await server.send(bad)
        await received.until(updates=1)
        assert received.accepted == ["BTCUSDT"]


async def test_a_bar_off_the_grid_of_its_interval_is_logged_and_not_handed_on() -> None:
    server = Server()
    async with streaming(server, "BTCUSDT") as (_, received):
        await received.until(accepted=1)
        with capture_logs() as logs:
            await server.send(push("kline.1.BTCUSDT", start=START_MS + 30_000))
            await server.send(push("kline.1.BTCUSDT", start=START_MS + 60_000))
            await received.until(updates=1)
        assert [update.bar.open_time_ms for update in received.updates] == [START_MS + 60_000]
        (logged,) = [each for each in logs if each["event"] == "stream_message_unreadable"]
        assert f"the bar of {START_MS + 30_000}: " in logged["error"]
        assert "30 s past the grid of 1 min" in logged["error"]


async def test_a_message_that_is_not_json_only_causes_a_reconnection() -> None:
    server = Server()
    async with streaming(server, "BTCUSDT") as (_, received):
        await received.until(accepted=1)
        await server.send("{")
        await received.until(accepted=2)
        await server.send(push("kline.1.BTCUSDT"))
        await received.until(updates=1)


async def test_the_stream_reconnects_to_a_server_that_was_down() -> None:
    server = Server()
    async with streaming(server, "BTCUSDT", "ETHUSDT") as (_, received):
        await received.until(accepted=2)
        await server.shut_down()
        await asyncio.sleep(0.5)  # long enough for some attempts to be refused
        await server.start()
        await received.until(accepted=4)
        await server.send(push("kline.1.ETHUSDT"))
        await received.until(updates=1)


async def test_a_refused_subscription_does_not_affect_others() -> None:
    server = Server()
    server.answers = lambda asked: "kline.1.BAD" not in _topics(asked)
    async with streaming(server, "BAD", "BTCUSDT") as (_, received):
        await received.until(accepted=1)
        await server.send(push("kline.1.BTCUSDT"))
        await received.until(updates=1)
        assert (received.accepted, len(server.sockets)) == (["BTCUSDT"], 1)


async def test_an_unacknowledged_subscription_is_repeated_on_a_new_connection() -> None:
    server = Server()
    asked = iter([None])
    server.answers = lambda _: next(asked, True)
    async with streaming(server, "BTCUSDT") as (_, received):
        await received.until(accepted=1)
        assert server.subscribed() == ["kline.1.BTCUSDT"] * 2


async def test_only_the_exact_topic_is_unsubscribed() -> None:
    server = Server()
    async with streaming(server, "BTCUSDT", "BTCUSD") as (stream, received):
        await received.until(accepted=2)
        stream.set_series({("BTCUSDT", "1")})

        async def unsubscribed() -> list[object]:
            return [asked["args"] for asked in server.received if asked["op"] == "unsubscribe"]

        assert await eventually(unsubscribed, bool) == [["kline.1.BTCUSD"]]
        stream.set_series({("BTCUSDT", "1"), ("BTCUSD", "1")})
        await received.until(accepted=3)


async def test_a_stream_can_be_made_to_reconnect() -> None:
    server = Server()
    async with streaming(server, "BTCUSDT") as (stream, received):
        await received.until(accepted=1)
        stream.reconnect()
        await received.until(accepted=2)
        assert len(server.subscribed()) == 2
