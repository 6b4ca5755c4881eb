"""Intents: the orders that a session means to have on the exchange, recorded before the exchange is called.

INTENT → SENDING → ACKED → PARTIALLY_FILLED → FILLED | CANCELLED | REJECTED
SENDING → INTENT       it is certain that nothing was sent
SENDING → UNKNOWN      sent, and the answer was lost
UNKNOWN → ACKED, …     the exchange has the order
UNKNOWN → INTENT       the exchange does not have it, and the window has passed: again under the same link id
INTENT → STALE         an entry past `send_before`
INTENT → DROPPED       a stop, a pause, the kill switch, a limit
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Literal
from uuid import UUID

from services.trading.exchange.venue import NewOrder, OrderSide, OrderStatus, SlippageTolerance
from shared.strategy.execution.outcome import Reason

Leg = Literal["entry", "exit", "target-1", "target-2", "target-3", "target-4", "target-5", "stop", "flatten"]
"""`stop`: a market close where a stop is passed already or cannot be set. `flatten`: a stop or the kill switch."""
TARGET_LEGS: tuple[Leg, ...] = ("target-1", "target-2", "target-3", "target-4", "target-5")

NOT_FOUND_WINDOW = timedelta(seconds=10)
"""How long after it was sent an order that the exchange does not show may still appear."""


class IntentState(StrEnum):
    INTENT = "INTENT"
    SENDING = "SENDING"
    UNKNOWN = "UNKNOWN"
    ACKED = "ACKED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"  # perhaps after partial fills
    REJECTED = "REJECTED"
    STALE = "STALE"
    DROPPED = "DROPPED"

    @property
    def is_final(self) -> bool:
        return not TRANSITIONS[self]

    @property
    def was_sent(self) -> bool:
        """Whether the exchange may have an order of it that is open."""
        return self in (
            IntentState.SENDING,
            IntentState.UNKNOWN,
            IntentState.ACKED,
            IntentState.PARTIALLY_FILLED,
        )


_S = IntentState
_OUTCOMES = frozenset({_S.ACKED, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED, _S.REJECTED})
TRANSITIONS: Mapping[IntentState, frozenset[IntentState]] = {
    _S.INTENT: frozenset({_S.SENDING, _S.STALE, _S.DROPPED, _S.ACKED, _S.PARTIALLY_FILLED, _S.FILLED}),
    _S.SENDING: _OUTCOMES | {_S.INTENT, _S.UNKNOWN},
    _S.UNKNOWN: _OUTCOMES | {_S.INTENT},
    _S.ACKED: _OUTCOMES - {_S.ACKED},
    _S.PARTIALLY_FILLED: frozenset({_S.FILLED, _S.CANCELLED}),
    _S.FILLED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.STALE: frozenset(),
    _S.DROPPED: frozenset(),
}
"""Final states never change. Executions of a final intent are booked nevertheless; they change `filled`."""

STATE_OF_STATUS: Mapping[OrderStatus, IntentState] = {
    OrderStatus.UNTRIGGERED: _S.ACKED,
    OrderStatus.TRIGGERED: _S.ACKED,
    OrderStatus.NEW: _S.ACKED,
    OrderStatus.PARTIALLY_FILLED: _S.PARTIALLY_FILLED,
    OrderStatus.FILLED: _S.FILLED,
    OrderStatus.CANCELLED: _S.CANCELLED,
    OrderStatus.REJECTED: _S.REJECTED,
    OrderStatus.DEACTIVATED: _S.CANCELLED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Intent:
    """One order of a session. The session, its tenant, account and symbol belong to the store.

    `bar` is the open time of the bar at whose close it was decided: for a target and a stop, that of the entry; for
    a flatten, the session's last bar. `filled` and `fee` are the sums of the executions booked, `notional` the sum
    of price × quantity; they are exact.
    """

    intent_id: UUID
    link_id: str
    bar: datetime
    leg: Leg
    attempt: int
    side: OrderSide
    quantity: Decimal
    price: Decimal | None  # None: a market order
    stop_loss: Decimal | None  # the provisional stop, attached at creation; None with a slippage tolerance
    reduce_only: bool
    reason: Reason  # of its fills
    strategy_hash: str
    epoch: int  # of the lease under which it was recorded
    created_at: datetime  # by the exchange's clock, as are all times here
    state: IntentState = IntentState.INTENT
    send_before: datetime | None = None  # None: never stale
    sent_at: datetime | None = None  # when it passed the gate last
    order_id: str | None = None
    filled: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    venue_code: int | None = None  # of a refusal
    venue_message: str | None = None

    @property
    def left(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def is_entry(self) -> bool:
        return self.leg == "entry"

    def to(self, state: IntentState, **changes: object) -> "Intent":
        """Return the intent in another state. Raises AssertionError if the transition does not exist."""
        assert state in TRANSITIONS[self.state], f"{self.leg} {self.state} → {state}"
        return replace(self, state=state, **changes)  # type: ignore[arg-type]

    def order(
        self,
        symbol: str,
        tolerance: SlippageTolerance | None = None,
        send_until: float | None = None,
        *,
        closes_all: bool = False,
    ) -> NewOrder:
        """Return the order to send. `tolerance`: of entries."""
        return NewOrder(
            self.link_id,
            symbol,
            self.side,
            self.quantity,
            self.price,
            self.reduce_only,
            self.stop_loss,
            tolerance if self.is_entry else None,
            send_until,
            closes_all,
        )
