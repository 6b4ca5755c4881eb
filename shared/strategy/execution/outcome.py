"""The outcome of a step: fills, trades and decisions; and the interface of entry guards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

from shared.strategy.bars import Side

Action = Literal["open", "close"]
Reason = Literal[
    "entry",
    "signal",
    "time",
    "stop_loss",
    "trailing_stop",
    "take_profit",
    "end_of_data",
    "manual",
    "kill_switch",
    "liquidation",
    "adl",
]
ProhibitionCode = Literal["cooldown_bars", "max_daily_loss_percentage", "no_equity"]
EntryOutcome = Literal["pending", "refused", "too_small"]


class Fill(NamedTuple):
    """One fill. `time_ms` is its bar's open time, `side` the position's, `fee` exact."""

    time_ms: int
    action: Action
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    reason: Reason


class Trade(NamedTuple):
    """One round trip. Gross and fees are exact; pnl, pnl_percentage and exit price have 8 places, half-even."""

    side: Side
    entry_time: int
    exit_time: int
    entry_price: Decimal
    exit_price: Decimal
    qty: Decimal
    gross: Decimal
    fees: Decimal
    pnl: Decimal
    pnl_percentage: Decimal
    reason: Reason
    strategy_hash: str
    bars: int


class Target(NamedTuple):
    """A take-profit level of a position. `price` None: the level would be at or below 0 and does not exist."""

    price: Decimal | None
    qty: Decimal
    takes_rest: bool


@dataclass(slots=True)
class Position:
    """The open position; only the execution changes it.

    `stop` is the stop loss, `trail` the trailing stop for the next bar, `left` the quantity still open, `spent` the
    number of take-profit levels reached, `closed_notional` the sum of price × quantity of the closes so far.
    """

    side: Side
    entry_time: int
    entry_price: Decimal
    qty: Decimal
    left: Decimal
    gross: Decimal
    fees: Decimal
    closed_notional: Decimal
    stop: Decimal | None
    trail: Decimal | None
    extreme: Decimal
    targets: tuple[Target, ...]
    spent: int
    bars: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision at a close, with its evidence: the indicators' values and the result of each check.

    Outcomes: `pending` (an order for the next open); `refused`, where `refusal` is the guard's code, a
    ProhibitionCode, or `no_distance` (a stop or target distance is undefined or not above 0); `too_small`.
    `allowed` and `asked` are the limit and the actual figure of a ProhibitionCode.
    """

    time_ms: int
    kind: Literal["entry", "exit"]
    side: Side
    reason: Reason
    qty: Decimal | None
    outcome: EntryOutcome
    refusal: str | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)
    checks: Mapping[str, bool | None] = field(default_factory=dict)
    allowed: Decimal | None = None
    asked: Decimal | None = None


@dataclass(frozen=True, slots=True)
class EntryProposal:
    """An entry about to be ordered, at `close[t]`. Distances are percentages of that price; None means no stop."""

    side: Side
    qty: Decimal
    price: Decimal
    notional: Decimal
    stop_distance_pct: Decimal | None
    take_profit_pcts: tuple[Decimal, ...]


EntryGuard = Callable[[EntryProposal], str | None]
"""Returns the code of the rule that forbids the entry, or None."""


class StepOutcome(NamedTuple):
    """The outcome of one step."""

    fills: tuple[Fill, ...] = ()
    trades: tuple[Trade, ...] = ()
    decisions: tuple[Decision, ...] = ()
    level_spent: bool = False
    dropped: bool = False
    """True if a pending order was dropped."""

    @property
    def decision(self) -> Decision | None:
        """The last decision: on a reversal the entry, which follows the exit."""
        return self.decisions[-1] if self.decisions else None

    @property
    def must_be_stored(self) -> bool:
        """False for a step that can be repeated from the stored bars after a restart."""
        return bool(self.fills or self.decisions or self.level_spent or self.dropped)


NO_OUTCOME = StepOutcome()
