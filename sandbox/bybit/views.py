"""The accounts as REST shows them: the engine's changes, applied when they become visible."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from sandbox.bybit.exchange.rows import Change, ExecutionRow, OrderRow, PositionRow, WalletRow

KEPT_ROWS = 10_000  # of each history of an account
RECENT_CLOSED = 500  # closed orders that order/realtime shows
CLOSED = frozenset({"Filled", "Cancelled", "Rejected", "Deactivated", "PartiallyFilledCanceled"})

Row = TypeVar("Row")


@dataclass(frozen=True)
class Numbered(Generic[Row]):
    """A row with its place in a list, which pages refer to."""

    number: int
    row: Row


@dataclass
class _Order:
    number: int
    row: OrderRow
    seen_ms: int  # wall time at which the order became visible, for `lookup_ms`


class AccountView:
    """Orders, executions, positions and wallet of one account."""

    def __init__(self, wallet: WalletRow) -> None:
        self.wallet = wallet
        self.positions: dict[str, PositionRow] = {}
        self._orders: dict[str, _Order] = {}
        self._recent: deque[str] = deque(maxlen=RECENT_CLOSED)
        self._executions: deque[Numbered[ExecutionRow]] = deque(maxlen=KEPT_ROWS)
        self._numbers = 0

    def apply(self, change: Change, now_ms: int) -> None:
        row = change.row
        match row:
            case OrderRow():
                self._apply_order(row, now_ms)
            case ExecutionRow():
                self._numbers += 1
                self._executions.append(Numbered(self._numbers, row))
            case PositionRow():
                self.positions[row.symbol] = row
            case WalletRow():
                self.wallet = row

    def _apply_order(self, row: OrderRow, now_ms: int) -> None:
        known = self._orders.get(row.order_id)
        if known is None:
            self._numbers += 1
            self._orders[row.order_id] = _Order(self._numbers, row, now_ms)
            self._forget_oldest()
        else:
            known.row = row
        if row.order_status in CLOSED and row.order_id not in self._recent:
            self._recent.append(row.order_id)

    def _forget_oldest(self) -> None:
        if len(self._orders) > KEPT_ROWS:
            closed = (order_id for order_id, order in self._orders.items() if order.row.order_status in CLOSED)
            for order_id in list(islice(closed, 1)):
                del self._orders[order_id]

    def clear_recent(self) -> None:
        """Forget what order/realtime shows of closed orders, as after a restart of the exchange."""
        self._recent.clear()

    def open_orders(self, created_before_ms: int) -> Iterator[Numbered[OrderRow]]:
        """Newest first. Orders that became visible later than `created_before_ms` are left out."""
        return (each for each in self._visible(created_before_ms) if each.row.order_status not in CLOSED)

    def recent_orders(self, created_before_ms: int) -> Iterator[Numbered[OrderRow]]:
        """Return closed orders, newest first, that order/realtime still has."""
        recent = set(self._recent)
        return (each for each in self.closed_orders(created_before_ms) if each.row.order_id in recent)

    def closed_orders(self, created_before_ms: int) -> Iterator[Numbered[OrderRow]]:
        """Newest first."""
        return (each for each in self._visible(created_before_ms) if each.row.order_status in CLOSED)

    def executions(self) -> Iterator[Numbered[ExecutionRow]]:
        """Newest first."""
        return reversed(self._executions)

    def _visible(self, created_before_ms: int) -> Iterator[Numbered[OrderRow]]:
        return (
            Numbered(order.number, order.row)
            for order in reversed(self._orders.values())
            if order.seen_ms <= created_before_ms
        )


def numbered(rows: Iterable[Row], count: int) -> Iterator[Numbered[Row]]:
    """Number `count` rows that come newest first."""
    return (Numbered(count - place, row) for place, row in enumerate(rows))
