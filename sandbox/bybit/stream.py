"""`/v5/public/linear`: the public WebSocket."""

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec

from sandbox.bybit.instruments import Instrument
from sandbox.bybit.messages import (
    Json,
    ack,
    kline_push,
    orderbook,
    orderbook_push,
    ticker_push,
    trade_push,
)
from sandbox.bybit.replay import INTERVAL_MS, Market, Push
from sandbox.bybit.sockets import Connection, SocketServer

DEPTHS = ("1", "50", "200", "500", "1000")
INTERVALS = (*INTERVAL_MS, "W", "M")

Given = ParamSpec("Given")


class PublicStream(SocketServer):
    """The subscribers, and the pushes to them."""

    def __init__(
        self, market: Market, instruments: Mapping[str, Instrument], admits: Callable[[str], bool]
    ) -> None:
        super().__init__(admits)
        self._market = market
        self._instruments = instruments
        self._sequence = 0
        self.muted = False  # an injected fault: connections stay open, nothing is pushed

    def push(self, pushes: Sequence[Push]) -> None:
        """Send klines and trades, then tickers and books, to the subscribers of each topic."""
        if self.muted:
            return
        now_ms = self._market.clock_ms
        for push in pushes:
            interval_ms = INTERVAL_MS[push.interval]
            self._send(f"kline.{push.interval}.{push.symbol}", kline_push, push, interval_ms, now_ms)
            if push.confirm and push.interval == self._market.series[push.symbol].interval:
                self._send(f"publicTrade.{push.symbol}", trade_push, push, interval_ms, now_ms)
        for symbol in dict.fromkeys(push.symbol for push in pushes):
            for topic in (f"tickers.{symbol}", *(f"orderbook.{depth}.{symbol}" for depth in DEPTHS)):
                self._send(topic, self._snapshot, topic)

    def _send(self, topic: str, build: Callable[Given, Json], *args: Given.args, **kwargs: Given.kwargs) -> None:
        """Build a message only if the topic has subscribers."""
        receivers = [each for each in self._connections if topic in each.topics]
        if receivers:
            message = build(*args, **kwargs)
            for connection in receivers:
                connection.send(message)

    def _snapshot(self, topic: str) -> Json:
        """Return the current message of a ticker or book."""
        name, *rest = topic.split(".")
        series, now_ms = self._market.series[rest[-1]], self._market.clock_ms
        self._sequence += 1
        if name == "tickers":
            return ticker_push(series, now_ms, self._sequence)
        tick_size = self._instruments.get(series.symbol, Instrument()).tick_size
        return orderbook_push(topic, orderbook(series, tick_size, int(rest[0]), now_ms, self._sequence))

    def _greet(self, connection: Connection, topics: Sequence[str]) -> None:
        """Send the first snapshot of each ticker and book."""
        for topic in topics:
            if topic.startswith(("tickers.", "orderbook.")):
                connection.send(self._snapshot(topic))

    def _pong(self, connection: Connection, request_id: str) -> Json:
        return ack("ping", request_id, connection.id, message="pong")

    def _refusal(self, connection: Connection, topics: Sequence[str]) -> str:
        for topic in topics:
            name, *rest = topic.split(".")
            known = (
                (name == "kline" and len(rest) == 2 and rest[0] in INTERVALS)
                or (name == "orderbook" and len(rest) == 2 and rest[0] in DEPTHS)
                or (name in ("tickers", "publicTrade") and len(rest) == 1)
            )
            if not known or rest[-1] not in self._market.series:
                return f"error:handler not found,topic:{topic}"
        return ""
