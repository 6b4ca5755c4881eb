"""`/v5/public/linear`: the public WebSocket."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import WSMsgType, web

from sandbox.bybit.messages import Json, ack, kline_push, new_connection_id, ticker_push
from sandbox.bybit.replay import INTERVAL_MS, Market, Push

# pybit registers a subscription only after sending it; an earlier acknowledgement makes its socket fail.
ACK_DELAY_S = 0.025
MAX_ARGS_LENGTH = 21_000


class Stream:
    """The subscribers, and the pushes to them."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._subscribed: dict[web.WebSocketResponse, set[str]] = {}
        self._sequence = 0
        self.muted = False  # an injected fault: connections stay open, nothing is pushed

    def topics(self) -> list[str]:
        """Return all topics with a subscriber."""
        return sorted({topic for topics in self._subscribed.values() for topic in topics})

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=True, max_msg_size=MAX_ARGS_LENGTH * 2)
        await socket.prepare(request)
        connection = new_connection_id()
        self._subscribed[socket] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(socket, connection, str(message.data))
        finally:
            del self._subscribed[socket]
        return socket

    async def close(self) -> None:
        """Close all connections."""
        for socket in list(self._subscribed):
            await socket.close()

    async def push(self, pushes: Sequence[Push]) -> None:
        """Send kline messages, then tickers, to the subscribers of each topic."""
        if self.muted:
            return
        now_ms = self._market.clock_ms
        for push in pushes:
            if receivers := self._receivers(f"kline.{push.interval}.{push.symbol}"):
                await _send(receivers, kline_push(push, INTERVAL_MS[push.interval], now_ms))
        for symbol in dict.fromkeys(push.symbol for push in pushes):
            if receivers := self._receivers(f"tickers.{symbol}"):
                self._sequence += 1
                await _send(receivers, ticker_push(self._market.series[symbol], now_ms, self._sequence))

    def _receivers(self, topic: str) -> list[web.WebSocketResponse]:
        return [socket for socket, topics in self._subscribed.items() if topic in topics]

    async def _answer(self, socket: web.WebSocketResponse, connection: str, text: str) -> None:
        try:
            request = json.loads(text)
            operation, request_id = str(request["op"]), str(request.get("req_id", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            await socket.send_json(ack("", "", connection, ok=False, message="Params Error"))
            return
        if operation == "ping":
            await socket.send_json(ack("ping", request_id, connection, message="pong"))
        elif operation in ("subscribe", "unsubscribe"):
            await self._subscribe(socket, connection, operation, request_id, request.get("args"))
        else:
            await socket.send_json(ack(operation, request_id, connection, ok=False, message="Invalid op"))

    async def _subscribe(
        self, socket: web.WebSocketResponse, connection: str, operation: str, request_id: str, topics: object
    ) -> None:
        await asyncio.sleep(ACK_DELAY_S)
        fault = self._subscription_fault(topics)
        if fault:
            await socket.send_json(ack(operation, request_id, connection, ok=False, message=fault))
            return
        assert isinstance(topics, list), "checked above"
        if operation == "subscribe":
            self._subscribed[socket].update(topics)
        else:
            self._subscribed[socket].difference_update(topics)
        await socket.send_json(ack(operation, request_id, connection))
        if operation == "subscribe":
            await self._send_tickers(socket, topics)

    async def _send_tickers(self, socket: web.WebSocketResponse, topics: Sequence[str]) -> None:
        """Send the first snapshot of each subscribed ticker."""
        for topic in topics:
            if topic.startswith("tickers."):
                self._sequence += 1
                series = self._market.series[topic.removeprefix("tickers.")]
                await socket.send_json(ticker_push(series, self._market.clock_ms, self._sequence))

    def _subscription_fault(self, topics: object) -> str:
        if not isinstance(topics, list) or not topics or not all(isinstance(topic, str) for topic in topics):
            return "Params Error"
        if sum(map(len, topics)) > MAX_ARGS_LENGTH:
            return "args size too large"
        for topic in topics:
            name, *rest = topic.split(".")
            known = (name == "kline" and len(rest) == 2 and rest[0] in (*INTERVAL_MS, "W", "M")) or (
                name == "tickers" and len(rest) == 1
            )
            if not known or rest[-1] not in self._market.series:
                return f"error:handler not found,topic:{topic}"
        return ""


async def _send(receivers: Sequence[web.WebSocketResponse], message: Json) -> None:
    text = json.dumps(message)
    for socket in receivers:
        with suppress(ConnectionError):  # the client is disconnecting
            await socket.send_str(text)
