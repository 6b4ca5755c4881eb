"""Bybit's public stream through pybit's WebSocket, one thread per socket.

Defaults of pybit that we override: it sends a subscription before registering it and crashes if the
acknowledgement arrives first, gives up a socket for good when the exchange briefly refuses connections, and closes
it when a callback raises. Here pybit never reconnects by itself; a supervisor does, with an increasing pause.
"""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import structlog
import websocket
from pybit.unified_trading import WebSocket

from services.trading.bybit_api import CATEGORY, UNREADABLE, parse_bar
from shared.chassis.pause import pause, pause_until
from shared.contracts.types import from_ms
from shared.strategy.bars import Bar

CONNECT_TIMEOUT_S = 10
PING_EVERY_S = 20
PONG_WITHIN_S = 10  # a socket without a peer is closed after both
ACK_WITHIN_S = 5
REFUSED_AGAIN_S = 30  # pause before a refused subscription is retried
RECONNECT_FIRST_S = 0.2
RECONNECT_LONGEST_S = 5.0
STEADY_S = 10  # a socket that lasted this long resets the reconnect pause
LOOK_EVERY_S = 1.0  # also when the series to follow change or the socket breaks

# websocket-client has no other way to limit the connect time; this applies to the whole process.
websocket.setdefaulttimeout(CONNECT_TIMEOUT_S)

log = structlog.get_logger()
SeriesKey = tuple[str, str]


class StreamBroken(Exception):
    """The socket is closed, or does not acknowledge or deliver."""


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


class _Socket(WebSocket):  # type: ignore[misc]  # pybit has no types
    """pybit's socket at a URL of ours; registers before it subscribes, and never reconnects by itself."""

    def __init__(self, url: str, on_answered: Callable[[str, bool], None], on_broken: Callable[[], None]) -> None:
        self._url = url
        self._on_answered = on_answered
        self._on_broken = on_broken
        # With retries=1 pybit raises even after it has connected; with 2, the second attempt never connects.
        super().__init__(
            CATEGORY,
            testnet=False,
            retries=2,
            restart_on_error=False,
            ping_interval=PING_EVERY_S,
            ping_timeout=PONG_WITHIN_S,
        )

    def _connect(self, url: str) -> None:
        super()._connect(self._url or url)

    def exit(self) -> None:
        """Close the connection, which pybit's own `exit` may leave open."""
        raw = self._raw()
        super().exit()
        if raw is not None:
            raw.shutdown()

    def _raw(self) -> Any:  # Any: websocket-client has no types
        return getattr(getattr(self, "ws", None), "sock", None)

    def ask(self, operation: str, topic: str, callback: Callable[[Any], None] | None = None) -> None:  # Any: JSON
        """Subscribe (with a callback) or unsubscribe."""
        request_id = str(uuid4())
        message = json.dumps({"op": operation, "req_id": request_id, "args": [topic]})
        if callback is not None:
            self.subscriptions[request_id] = message
            self._set_callback(topic, callback)
        self.ws.send(message)

    def _process_subscription_message(self, message: Any) -> None:  # Any: JSON
        """Report the answer; pybit's own method crashes on a refusal."""
        sent = self.subscriptions.get(message.get("req_id"))
        if sent:
            topic = json.loads(sent)["args"][0]
            if not message.get("success"):
                log.error("subscription_refused", topic=topic, reason=message.get("ret_msg"))
            self._on_answered(topic, bool(message.get("success")))

    def _process_unsubscription_message(self, message: Any) -> None:  # Any: JSON
        """Do nothing: the receiver ignores updates that still arrive."""

    def _process_normal_message(self, message: Any) -> None:  # Any: JSON
        callback = self.callback_directory.get(message.get("topic"))
        if callback is not None:
            callback(message)

    def _on_error(self, error: object) -> None:
        """Mark the socket for the supervisor. Runs on the socket's thread, where pybit's own method raises.

        Closes the connection too: websocket-client leaves it open after the server has closed it.
        """
        log.warning("stream_error", error=repr(error))
        self.exited = True
        if (raw := self._raw()) is not None:
            raw.shutdown()
        self._on_broken()

    def _on_close(self) -> None:
        super()._on_close()
        self._on_broken()


class MarketStream:
    """Calls back with kline updates, and each time the exchange accepts a subscription."""

    def __init__(
        self,
        ws_url: str,
        on_update: Callable[[BarUpdate], None],
        on_subscribed: Callable[[str, str], None],
    ) -> None:
        self._url = ws_url
        self._on_update = on_update
        self._on_subscribed = on_subscribed
        self._wanted: set[SeriesKey] = set()
        self._subscriptions: dict[SeriesKey, _Subscription] = {}
        self._socket: _Socket | None = None
        self._connected_at = 0.0
        self._silent = False
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

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
        """Connect, subscribe and watch; reconnect with an increasing pause when the socket breaks."""
        pause_s = RECONNECT_FIRST_S
        thread = ThreadPoolExecutor(1, thread_name_prefix="bybit-stream")
        try:
            while not stop.is_set():
                try:
                    await self._loop.run_in_executor(thread, self._maintain)
                    await pause_until(stop, self._changed, LOOK_EVERY_S)
                except (websocket.WebSocketException, OSError, StreamBroken) as error:
                    log.warning("stream_reconnects", error=repr(error), pause_s=pause_s)
                    if self._socket is not None and time.monotonic() - self._connected_at > STEADY_S:
                        pause_s = RECONNECT_FIRST_S
                    await self._loop.run_in_executor(thread, self._close)
                    await pause(stop, pause_s)
                    pause_s = min(pause_s * 2, RECONNECT_LONGEST_S)
        finally:
            await asyncio.wait({self._loop.run_in_executor(thread, self._close)})
            thread.shutdown(wait=False)

    def _maintain(self) -> None:
        """Connect if necessary and bring the subscriptions up to date. Raises StreamBroken."""
        if self._socket is None:
            self._subscriptions, self._silent = {}, False
            self._socket = _Socket(self._url, self._on_answer, partial(self._call_in_loop, self._changed.set))
            self._connected_at = time.monotonic()
        if self._socket.exited or not self._socket.is_connected():
            raise StreamBroken("the socket is closed")
        if self._silent:
            raise StreamBroken("the stream is silent")
        for series in sorted(self._wanted):
            if self._is_due(series):
                self._subscriptions[series] = _Subscription(time.monotonic())
                self._socket.ask("subscribe", _topic(series), self._receive)
        for series in sorted(self._subscriptions.keys() - self._wanted):
            del self._subscriptions[series]
            self._socket.ask("unsubscribe", _topic(series))

    def _is_due(self, series: SeriesKey) -> bool:
        known = self._subscriptions.get(series)
        if known is None:
            return True
        waited_s = time.monotonic() - known.sent_at
        if known.state == "SENT" and waited_s > ACK_WITHIN_S:
            raise StreamBroken(f"{_topic(series)} is not acknowledged")
        return known.state == "REFUSED" and waited_s > REFUSED_AGAIN_S

    def _close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.exit()

    def _on_answer(self, topic: str, accepted: bool) -> None:
        """Record the exchange's answer to a subscription. Runs on the socket's thread."""
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

    def _call_in_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: shutting down
            self._loop.call_soon_threadsafe(callback, *arguments)


def _topic(series: SeriesKey) -> str:
    symbol, interval = series
    return f"kline.{interval}.{symbol}"


def _update(message: Any, item: Any) -> BarUpdate:  # Any: JSON
    _, interval, symbol = message["topic"].split(".")
    numbers = (item[name] for name in ("open", "high", "low", "close", "volume"))
    bar = parse_bar(item["start"], *numbers, interval=interval)
    return BarUpdate(symbol, interval, bar, bool(item["confirm"]), from_ms(int(message["ts"])))
