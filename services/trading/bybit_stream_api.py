"""Bybit's public stream: the updates of the bars of all series in demand, over one supervised socket."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from services.trading.bybit_api import CATEGORY, UNREADABLE, parse_bar
from services.trading.supervised_socket_api import (
    REFUSED_AGAIN_S,
    SocketEvents,
    StreamBroken,
    StreamSocket,
    SupervisedSocket,
)
from shared.contracts.types import from_ms
from shared.strategy.bars import Bar

ACK_WITHIN_S = 5

log = structlog.get_logger()
SeriesKey = tuple[str, str]


@dataclass(frozen=True)
class BarUpdate:
    """A bar as streamed; `confirmed` once it has closed. `venue_time` is the exchange's clock."""

    symbol: str
    interval: str
    bar: Bar
    confirmed: bool
    venue_time: datetime


@dataclass
class _Subscription:
    sent_at: float  # of the monotonic clock
    state: str = "SENT"  # ACCEPTED, REFUSED


class MarketStream(SupervisedSocket):
    """Calls back with kline updates, and each time the exchange accepts a subscription."""

    def __init__(
        self,
        ws_url: str,
        on_update: Callable[[BarUpdate], None],
        on_subscribed: Callable[[str, str], None],
    ) -> None:
        super().__init__(ThreadPoolExecutor(1, thread_name_prefix="bybit-stream"))
        self._url = ws_url
        self._on_update = on_update
        self._on_subscribed = on_subscribed
        self._wanted: set[SeriesKey] = set()
        self._subscriptions: dict[SeriesKey, _Subscription] = {}
        self._silent = False

    def set_series(self, series: set[SeriesKey]) -> None:
        """Set the (symbol, interval) pairs to be subscribed to."""
        if series != self._wanted:
            self._wanted = set(series)
            self._changed.set()

    def reconnect(self) -> None:
        """Connect again: the socket is open, but updates are missing."""
        self._silent = True
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await super().run(stop)
        finally:
            self._threads.shutdown(wait=False)

    def _maintain(self) -> None:
        if self._socket is None:
            self._subscriptions, self._silent = {}, False
            self._socket = StreamSocket(CATEGORY, self._url, SocketEvents(self._on_answer, self._note_change))
            self._connected_at = time.monotonic()
        self._socket.check_open()
        if self._silent:
            raise StreamBroken("the stream is silent")
        for series in sorted(self._wanted):
            if self._is_due(series):
                self._subscriptions[series] = _Subscription(time.monotonic())
                self._socket.ask("subscribe", [_topic(series)], self._receive)
        for series in sorted(self._subscriptions.keys() - self._wanted):
            del self._subscriptions[series]
            self._socket.ask("unsubscribe", [_topic(series)])

    def _is_due(self, series: SeriesKey) -> bool:
        known = self._subscriptions.get(series)
        if known is None:
            return True
        waited_s = time.monotonic() - known.sent_at
        if known.state == "SENT" and waited_s > ACK_WITHIN_S:
            raise StreamBroken(f"{_topic(series)} is not acknowledged")
        return known.state == "REFUSED" and waited_s > REFUSED_AGAIN_S

    def _on_answer(self, topics: Sequence[str], accepted: bool, _: str) -> None:
        """Record the exchange's answer to a subscription. Runs on the socket's thread."""
        for topic in topics:
            _, interval, symbol = topic.split(".")
            known = self._subscriptions.get((symbol, interval))
            if known is not None:
                known.state = "ACCEPTED" if accepted else "REFUSED"
                if accepted:
                    self._call_in_loop(self._on_subscribed, symbol, interval)

    def _receive(self, message: Any) -> None:  # Any: JSON
        """Parse a message and hand it to the loop, nothing else. Runs on the socket's thread."""
        try:
            updates = [_update(message, item) for item in message["data"]]
        except UNREADABLE as error:
            log.error("stream_message_unreadable", error=repr(error))
            return
        for update in updates:
            self._call_in_loop(self._on_update, update)


def _topic(series: SeriesKey) -> str:
    symbol, interval = series
    return f"kline.{interval}.{symbol}"


def _update(message: Any, item: Any) -> BarUpdate:  # Any: JSON
    _, interval, symbol = message["topic"].split(".")
    numbers = (item[name] for name in ("open", "high", "low", "close", "volume"))
    bar = parse_bar(item["start"], *numbers, interval=interval)
    return BarUpdate(symbol, interval, bar, bool(item["confirm"]), from_ms(int(message["ts"])))
