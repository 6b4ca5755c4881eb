"""Bybit's public market data through pybit, which is synchronous: threads of our own, time-outs and retries ours.

What pybit does by itself and we do not want: silent retries that sleep, a socket that dies for ever when an
exchange refuses connections for a moment, a subscription that is sent before it is registered.
"""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import uuid4

import requests
import structlog
import websocket
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket

from shared.contracts.types import from_ms

VENUE = "bybit"
CATEGORY = "linear"
THREADS = 4
TIMEOUT_S = 5
KLINE_LIMIT = 1_000
NO_SUCH_CODE = -1  # an empty set of codes to retry would be replaced by pybit's own
RECONNECT_FIRST_S = 0.2
RECONNECT_LONGEST_S = 5.0
LOOK_EVERY_S = 0.1
PARAMS_ERROR = 10001
PYBIT_FAULTS = (FailedRequestError, requests.RequestException, ValueError, KeyError, TypeError, InvalidOperation)

log = structlog.get_logger()


class VenueUnavailable(Exception):
    """The exchange did not answer, or not sensibly; try again later."""


class UnknownSymbol(Exception):
    """The exchange does not know this symbol."""


@dataclass(frozen=True)
class Kline:
    """A bar as the exchange tells it."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True)
class KlineUpdate:
    """A bar as the stream tells it; `confirmed` once it is over. `venue_time` is the exchange's clock."""

    symbol: str
    interval: str
    kline: Kline
    confirmed: bool
    venue_time: datetime


@dataclass(frozen=True)
class Contract:
    """What orders of a symbol must fit."""

    tick_size: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    min_notional: Decimal


class MarketApi:
    """REST. Every method raises VenueUnavailable or UnknownSymbol."""

    def __init__(self, rest_url: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bybit")
        self._http = HTTP(max_retries=1, retry_codes={NO_SUCH_CODE}, timeout=TIMEOUT_S)
        if rest_url:
            self._http.endpoint = rest_url

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def server_time(self) -> datetime:
        """The exchange's clock."""
        return from_ms(int((await self._call(self._http.get_server_time))["timeNano"]) // 1_000_000)

    async def contract(self, symbol: str) -> Contract:
        answer = await self._call(self._http.get_instruments_info, category=CATEGORY, symbol=symbol)
        if not answer["list"]:
            raise UnknownSymbol(symbol)
        listed = answer["list"][0]
        lots = listed["lotSizeFilter"]
        return Contract(
            Decimal(listed["priceFilter"]["tickSize"]),
            Decimal(lots["qtyStep"]),
            Decimal(lots["minOrderQty"]),
            Decimal(lots["minNotionalValue"]),
        )

    async def klines(self, symbol: str, interval: str, **window: int) -> list[Kline]:
        """Up to a thousand bars, ascending; the last may be open. `window`: start, end in ms, both included."""
        answer = await self._call(
            self._http.get_kline,
            category=CATEGORY,
            symbol=symbol,
            interval=interval,
            limit=KLINE_LIMIT,
            **window,
        )
        return [_kline(*row[:6]) for row in reversed(answer["list"])]

    async def _call(self, method: Callable[..., Any], **query: object) -> Any:  # Any: JSON
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, lambda: method(**query))
            return answer["result"]
        except InvalidRequestError as error:
            if error.status_code == PARAMS_ERROR and "symbol" in query:
                raise UnknownSymbol(str(query["symbol"])) from error
            raise VenueUnavailable(f"{error.status_code} {error.message}") from error
        except PYBIT_FAULTS as error:
            raise VenueUnavailable(repr(error)) from error


def _kline(start: object, *numbers: object) -> Kline:
    return Kline(from_ms(int(str(start))), *(Decimal(str(number)) for number in numbers))


class _Socket(WebSocket):  # type: ignore[misc]  # pybit has no types
    """pybit's socket at an address of ours, that registers before it subscribes and never reconnects by itself."""

    def __init__(self, url: str, on_subscribed: Callable[[str], None]) -> None:
        self._url = url
        self._on_subscribed = on_subscribed
        super().__init__(
            CATEGORY, testnet=False, retries=2, restart_on_error=False, ping_interval=20, ping_timeout=10
        )

    def _connect(self, url: str) -> None:
        super()._connect(self._url or url)

    def subscribe(self, topic: str, callback: Callable[[Any], None], symbol: Any = False) -> None:  # Any: JSON
        request_id = str(uuid4())
        topics = [topic.format(symbol=symbol)]
        message = json.dumps({"op": "subscribe", "req_id": request_id, "args": topics})
        self.subscriptions[request_id] = message
        self._set_callback(topics[0], callback)
        self.ws.send(message)

    def _process_subscription_message(self, message: Any) -> None:  # Any: JSON
        """pybit's own dies of a refused subscription."""
        sent = self.subscriptions.get(message.get("req_id"))
        if message.get("success") and sent:
            self._on_subscribed(json.loads(sent)["args"][0])
        else:
            log.error("subscription_refused", subscription=sent, reason=message.get("ret_msg"))


class MarketStream:
    """The public stream: kline updates, and a word each time the exchange has accepted a subscription."""

    def __init__(
        self,
        ws_url: str,
        on_update: Callable[[KlineUpdate], None],
        on_subscribed: Callable[[str, str], None],
    ) -> None:
        self._url = ws_url
        self._on_update = on_update
        self._on_subscribed = on_subscribed
        self._wanted: set[tuple[str, str]] = set()
        self._subscribed: set[tuple[str, str]] = set()
        self._socket: _Socket | None = None
        self._loop = asyncio.get_running_loop()

    def want(self, series: set[tuple[str, str]]) -> None:
        """Which (symbol, interval) to be subscribed to."""
        self._wanted = set(series)

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, subscribe, watch; again with a growing pause when it breaks."""
        pause_s = RECONNECT_FIRST_S
        try:
            while not stop.is_set():
                try:
                    await asyncio.to_thread(self._keep_up)
                    pause_s = RECONNECT_FIRST_S
                    await asyncio.sleep(LOOK_EVERY_S)
                except (websocket.WebSocketException, OSError, VenueUnavailable) as error:
                    log.warning("stream_reconnects", error=repr(error))
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, RECONNECT_LONGEST_S)
        finally:
            await asyncio.to_thread(self._close)

    def _keep_up(self) -> None:
        if self._socket is None or self._socket.exited or not self._socket.is_connected():
            self._close()
            self._subscribed = set()
            self._socket = _Socket(self._url, self._accepted)
        for symbol, interval in sorted(self._wanted - self._subscribed):
            self._socket.subscribe(f"kline.{interval}.{{symbol}}", self._receive, symbol)
            self._subscribed.add((symbol, interval))
        for symbol, interval in sorted(self._subscribed - self._wanted):
            self._socket.unsubscribe(f"kline.{interval}.{symbol}")
            self._subscribed.discard((symbol, interval))

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.exit()
            self._socket = None

    def _accepted(self, topic: str) -> None:
        _, interval, symbol = topic.split(".")
        self._tell(self._on_subscribed, symbol, interval)

    def _receive(self, message: Any) -> None:  # Any: JSON
        """On the socket's thread, where an exception would kill the socket: hand over and nothing else."""
        try:
            updates = [_update(message, item) for item in message["data"]]
        except (KeyError, ValueError, TypeError, InvalidOperation) as error:
            log.error("stream_message_unreadable", error=repr(error))
            return
        for update in updates:
            self._tell(self._on_update, update)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop is closed: we are going down
            time.sleep(0)


def _update(message: Any, item: Any) -> KlineUpdate:  # Any: JSON
    _, interval, symbol = message["topic"].split(".")
    kline = _kline(item["start"], item["open"], item["high"], item["low"], item["close"], item["volume"])
    return KlineUpdate(symbol, interval, kline, bool(item["confirm"]), from_ms(int(message["ts"])))
