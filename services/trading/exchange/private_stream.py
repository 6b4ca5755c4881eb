"""One account's private stream: hints on orders, executions, positions and the wallet. REST is the truth.

Nothing is replayed after a reconnection, so each one begins with a gap, which the caller fills by REST.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from services.trading.bybit_api import UNREADABLE
from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.messages import (
    SETTLE_COIN,
    Row,
    execution_of,
    is_linear,
    order_of,
    position_of,
    rows_of,
    wallet_of,
)
from services.trading.exchange.signing_clock import SigningClock
from services.trading.exchange.venue import VenueExecution, VenueOrder, VenuePosition, VenueWallet
from services.trading.supervised_socket_api import (
    LOOK_EVERY_S,
    SocketEvents,
    StreamBroken,
    StreamRefused,
    StreamSocket,
    SupervisedSocket,
)

CHANNEL = "private"
TOPICS = ("order", "execution", "position", "wallet")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StreamGap:
    """Hints may be missing before this point: after each connection, the first one too, and after a message that
    cannot be read."""

    reason: str


StreamItem = VenueOrder | VenueExecution | VenuePosition | VenueWallet | StreamGap


@dataclass(frozen=True, slots=True)
class StreamPace:
    """A socket on which nothing arrives for `silence_s`, not even the answer to a ping, is rebuilt."""

    ping_every_s: float = 20.0
    silence_s: float = 45.0
    answer_within_s: float = 5.0  # to the key, and to the subscription


@dataclass(slots=True)
class _Progress:
    """How far a connection is. Written by the socket's thread too, one field each."""

    authenticated: bool = False
    subscribed_at: float | None = None
    accepted: bool = False
    refusal: str | None = None
    pinged_at: float = 0.0


class PrivateStream(SupervisedSocket):
    """Calls back on the loop with each item, in the order of arrival."""

    def __init__(
        self,
        stream_url: str,
        credentials: Credentials,
        clock: SigningClock,
        threads: ThreadPoolExecutor,
        on_item: Callable[[StreamItem], None],
        admit: Callable[[], Awaitable[None]],
        pace: StreamPace | None = None,
    ) -> None:
        super().__init__(threads, admit)
        self._url = stream_url
        self._credentials = credentials
        self._signing_clock = clock
        self._on_item = on_item
        self._pace = pace or StreamPace()
        self._progress = _Progress()

    @property
    def is_live(self) -> bool:
        """Whether the exchange has accepted the subscription and the socket is open."""
        return self._progress.accepted

    def _look_every_s(self) -> float:
        return self._pace.ping_every_s / 2 if self.is_live else min(LOOK_EVERY_S, self._pace.answer_within_s / 2)

    def _maintain(self) -> None:
        now = time.monotonic()
        if self._socket is None:
            self._progress = _Progress(pinged_at=now)
            events = SocketEvents(self._on_answered, self._note_change, self._on_authenticated)
            self._socket = StreamSocket(
                CHANNEL, self._url, events, self._credentials, self._signing_clock, ping_every_s=0
            )
            self._connected_at = now
        self._socket.check_open()
        self._check_progress(now, self._socket.heard_at)
        if self._progress.authenticated and self._progress.subscribed_at is None:
            self._progress.subscribed_at = now
            self._socket.ask("subscribe", TOPICS, self._receive)
        if now - self._progress.pinged_at >= self._pace.ping_every_s:
            self._progress.pinged_at = now
            self._socket.ping()

    def _check_progress(self, now: float, heard_at: float) -> None:
        """Raises StreamBroken, StreamRefused."""
        progress, answer_within_s = self._progress, self._pace.answer_within_s
        if progress.refusal is not None:
            raise StreamRefused(progress.refusal)
        if not progress.authenticated and now - self._connected_at > answer_within_s:
            raise StreamBroken("the key is not acknowledged")
        if not progress.accepted and now - (progress.subscribed_at or now) > answer_within_s:
            raise StreamBroken("the subscription is not acknowledged")
        if now - heard_at > self._pace.silence_s:
            raise StreamBroken("the stream is silent")

    def _close(self) -> None:
        self._progress = _Progress()
        super()._close()

    def _on_authenticated(self, accepted: bool, words: str) -> None:
        """Runs on the socket's thread, like the following ones."""
        if accepted:
            self._progress.authenticated = True
        else:
            self._progress.refusal = f"the exchange refuses the key: {words}"
        self._note_change()

    def _on_answered(self, _: Sequence[str], accepted: bool, words: str) -> None:
        if accepted:
            self._progress.accepted = True
            self._call_in_loop(self._on_item, StreamGap("connected"))
        else:
            self._progress.refusal = f"the exchange refuses the subscription: {words}"
        self._note_change()

    def _receive(self, message: Row) -> None:
        """Parse a message and hand it to the loop, nothing else."""
        try:
            items: list[StreamItem] = list(_items_of(message))
        except UNREADABLE as error:
            log.error("stream_message_unreadable", error=repr(error))
            items = [StreamGap("unreadable")]
        for item in items:
            self._call_in_loop(self._on_item, item)


def _items_of(message: Row) -> Iterator[StreamItem]:
    topic, rows = message["topic"], [row for row in rows_of(message, "data") if is_linear(row)]
    if topic == "order":
        yield from map(order_of, rows)
    elif topic == "execution":
        yield from map(execution_of, rows)
    elif topic == "position":
        yield from map(position_of, rows)
    elif topic == "wallet":
        yield from (wallet_of(row) for row in rows if _has_settle_coin(row))


def _has_settle_coin(row: Row) -> bool:
    """The stream lists the coins that changed."""
    return any(coin["coin"] == SETTLE_COIN for coin in rows_of(row, "coin"))
