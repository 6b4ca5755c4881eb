"""Bybit's public stream through pybit's WebSocket, one thread for a socket.

What pybit does by itself and we do not want: it sends a subscription before it has registered it, dies of an
acknowledgement that is faster, gives a socket up for ever when the exchange refuses connections for a moment, and
ends it when a callback raises. Here it never reconnects by itself; a supervisor does, with a growing pause.
"""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import structlog
import websocket
from pybit.unified_trading import WebSocket

from services.trading.bybit_api import CATEGORY, UNREADABLE, Kline, kline_of
from shared.chassis.pause import pause
from shared.contracts.types import from_ms

CONNECT_TIMEOUT_S = 10
PING_EVERY_S = 20
PONG_WITHIN_S = 10  # a socket whose other end is gone ends after both
ACK_WITHIN_S = 5
REFUSED_AGAIN_S = 30  # a refused subscription is tried again
RECONNECT_FIRST_S = 0.2
RECONNECT_LONGEST_S = 5.0
STEADY_S = 10  # a socket that lived so long lets the pause begin anew
LOOK_EVERY_S = 0.1

# websocket-client's only way to bound connecting; it is for the whole process.
websocket.setdefaulttimeout(CONNECT_TIMEOUT_S)

log = structlog.get_logger()
SeriesKey = tuple[str, str]


class StreamBroken(Exception):
    """The socket is gone, or does not do what it was asked."""


@dataclass(frozen=True)
class KlineUpdate:
    """A bar as the stream tells it; `confirmed` once it is over. `venue_time` is the exchange's clock."""

    symbol: str
    interval: str
    kline: Kline
    confirmed: bool
    venue_time: datetime


@dataclass
class _Subscription:
    sent_at: float  # of the monotonic clock
    state: str = "SENT"  # ACCEPTED, REFUSED


class _Socket(WebSocket):  # type: ignore[misc]  # pybit has no types
    """pybit's socket at an address of ours, that registers before it subscribes and never reconnects by itself."""

    def __init__(self, url: str, on_answered: Callable[[str, bool], None]) -> None:
        self._url = url
        self._on_answered = on_answered
        # retries=1 would raise even after it has connected; with 2 a second attempt never connects.
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
        """pybit's own may leave the connection open."""
        raw = self._raw()
        super().exit()
        if raw is not None:
            raw.shutdown()

    def _raw(self) -> Any:  # Any: websocket-client has no types
        return getattr(getattr(self, "ws", None), "sock", None)

    def ask(self, operation: str, topic: str, callback: Callable[[Any], None] | None = None) -> None:  # Any: JSON
        """Subscribe (with its callback) or unsubscribe."""
        request_id = str(uuid4())
        message = json.dumps({"op": operation, "req_id": request_id, "args": [topic]})
        if callback is not None:
            self.subscriptions[request_id] = message
            self._set_callback(topic, callback)
        self.ws.send(message)

    def _process_subscription_message(self, message: Any) -> None:  # Any: JSON
        """pybit's own dies of a refusal."""
        sent = self.subscriptions.get(message.get("req_id"))
        if sent:
            topic = json.loads(sent)["args"][0]
            if not message.get("success"):
                log.error("subscription_refused", topic=topic, reason=message.get("ret_msg"))
            self._on_answered(topic, bool(message.get("success")))

    def _process_unsubscription_message(self, message: Any) -> None:  # Any: JSON
        """Nothing hangs on it: what still comes is ignored by whoever receives it."""

    def _process_normal_message(self, message: Any) -> None:  # Any: JSON
        callback = self.callback_directory.get(message.get("topic"))
        if callback is not None:
            callback(message)

    def _on_error(self, error: object) -> None:
        """On the socket's thread, where pybit's own raises: mark it for the supervisor.

        websocket-client leaves a connection open that the server has closed.
        """
        log.warning("stream_error", error=repr(error))
        self.exited = True
        if (raw := self._raw()) is not None:
            raw.shutdown()


class MarketStream:
    """Kline updates, and a word each time the exchange has accepted a subscription."""

    def __init__(
        self,
        ws_url: str,
        on_update: Callable[[KlineUpdate], None],
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

    def want(self, series: set[SeriesKey]) -> None:
        """Which (symbol, interval) to be subscribed to."""
        self._wanted = set(series)

    def renew(self) -> None:
        """It is up and says nothing of what happens: connect anew."""
        self._silent = True

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, subscribe, watch; again with a growing pause when it breaks."""
        pause_s = RECONNECT_FIRST_S
        thread = ThreadPoolExecutor(1, thread_name_prefix="bybit-stream")
        try:
            while not stop.is_set():
                try:
                    await self._loop.run_in_executor(thread, self._keep_up)
                    await pause(stop, LOOK_EVERY_S)
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

    def _keep_up(self) -> None:
        if self._socket is None:
            self._subscriptions, self._silent = {}, False
            self._socket = _Socket(self._url, self._answered)
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

    def _answered(self, topic: str, accepted: bool) -> None:
        """On the socket's thread."""
        _, interval, symbol = topic.split(".")
        known = self._subscriptions.get((symbol, interval))
        if known is not None:
            known.state = "ACCEPTED" if accepted else "REFUSED"
            if accepted:
                self._tell(self._on_subscribed, symbol, interval)

    def _receive(self, message: Any) -> None:  # Any: JSON
        """On the socket's thread: hand over and nothing else."""
        try:
            updates = [_update(message, item) for item in message["data"]]
        except UNREADABLE as error:
            log.error("stream_message_unreadable", error=repr(error))
            return
        for update in updates:
            self._tell(self._on_update, update)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: we are going down
            self._loop.call_soon_threadsafe(what, *arguments)


def _topic(series: SeriesKey) -> str:
    symbol, interval = series
    return f"kline.{interval}.{symbol}"


def _update(message: Any, item: Any) -> KlineUpdate:  # Any: JSON
    _, interval, symbol = message["topic"].split(".")
    numbers = (item[name] for name in ("open", "high", "low", "close", "volume"))
    kline = kline_of(item["start"], *numbers, interval=interval)
    return KlineUpdate(symbol, interval, kline, bool(item["confirm"]), from_ms(int(message["ts"])))
