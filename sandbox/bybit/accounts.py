"""The accounts, and how the engine's changes reach the ledger, REST and the private streams."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from decimal import Decimal

from sandbox.bybit.account_messages import text
from sandbox.bybit.clock import Clock
from sandbox.bybit.delivery import Delays, Lane
from sandbox.bybit.exchange.exchange import AccountState, Exchange
from sandbox.bybit.exchange.rows import Change, PositionRow, WalletRow
from sandbox.bybit.exchange.terms import AccountTerms
from sandbox.bybit.ledger import Ledger
from sandbox.bybit.views import AccountView

FIRST_UID = 1_448_939


class Accounts:
    """`push` sends a change to the private streams."""

    def __init__(self, exchange: Exchange, clock: Clock, ledger: Ledger, push: Callable[[Change], None]) -> None:
        self.exchange = exchange
        self.delays = Delays()
        self.executions = 0  # of all accounts so far
        self._clock = clock
        self._ledger = ledger
        self._push = push
        self._own_delays: dict[str, Delays] = {}
        self._views: dict[str, AccountView] = {}
        self._lanes: dict[str, tuple[Lane, Lane]] = {}  # of each account: to REST, to the streams

    def open(self, terms: AccountTerms, uid: str | None = None) -> str:
        """Return the account's UID. Raises ValueError."""
        uid = uid or str(FIRST_UID + len(self._views))
        if not (uid.isascii() and uid.isdigit() and len(uid) <= 18):
            raise ValueError("uid must be a number")
        self.exchange.open_account(uid, terms, self._clock.market_ms)
        self._views[uid] = view = AccountView(self.exchange.account(uid).wallet)
        self._lanes[uid] = (Lane(lambda change: view.apply(change, self._clock.wall_ms)), Lane(self._push))
        self.deliver()
        return uid

    def uids(self) -> list[str]:
        return list(self._views)

    def has(self, uid: str) -> bool:
        return uid in self._views

    def view(self, uid: str) -> AccountView:
        """Raises KeyError."""
        return self._views[uid]

    def state(self, uid: str) -> AccountState:
        """Raises KeyError."""
        return self.exchange.account(uid)

    def delays_of(self, uid: str) -> Delays:
        return self._own_delays.get(uid, self.delays)

    def set_delays(self, uid: str, delays: Delays) -> None:
        self._own_delays[uid] = delays

    def lookup_before_ms(self, uid: str) -> int:
        """Return since when an order must be visible for order/realtime and order/history to show it."""
        return self._clock.wall_ms - self.delays_of(uid).lookup_ms

    def positions(self, uid: str) -> Mapping[str, PositionRow]:
        """Return the positions as REST shows them: with the marks of now, unless changes are delayed."""
        return self.state(uid).positions if self._lanes[uid][0].is_empty else self.view(uid).positions

    def wallet(self, uid: str) -> WalletRow:
        return self.state(uid).wallet if self._lanes[uid][0].is_empty else self.view(uid).wallet

    def deliver(self) -> None:
        """Deliver what the engine changed. To be called after each of its operations."""
        for change in self.exchange.take_changes():
            self.executions += change.topic == "execution"
            if change.topic in ("order", "execution"):
                self._ledger.add(change.topic, {"uid": change.uid, "at_ms": change.at_ms, **_fields(change)})
            if change.uid in self._lanes:
                delays = self.delays_of(change.uid)
                rest, streams = self._lanes[change.uid]
                rest.put(change, delays.read_ms)
                streams.put(change, delays.stream_ms)

    def close(self) -> None:
        for lanes in self._lanes.values():
            for lane in lanes:
                lane.close()


def _fields(change: Change) -> dict[str, object]:
    return {
        name: text(value) if isinstance(value, Decimal) else value for name, value in asdict(change.row).items()
    }
