"""Rules of trading; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, get_args
from uuid import UUID

from shared.contracts.types import EPOCH
from shared.strategy.bars import INTERVAL_MS, Instrument
from shared.strategy.decimals import HUNDRED, exact, quantised_quotient
from shared.strategy.execution.outcome import EntryGuard, EntryProposal

SessionStatus = Literal["ACTIVE", "PAUSED", "STOPPED"]
Entries = Literal["ALLOWED", "PAUSED", "PLAN_LIMIT"]
StopReason = Literal["manual", "end_of_data"]
# What a session may become; to become what it is changes nothing.
TRANSITIONS: Mapping[SessionStatus, frozenset[SessionStatus]] = {
    "ACTIVE": frozenset({"PAUSED", "STOPPED"}),
    "PAUSED": frozenset({"ACTIVE", "STOPPED"}),
    "STOPPED": frozenset(),
}
LONGEST_DEADLINE = timedelta(seconds=20)


@dataclass(frozen=True)
class PlanLimits:
    """None: unlimited."""

    plan: str
    version: int
    max_active_strategies: int | None
    max_symbols: int | None
    max_running_sessions: int | None = None
    max_stored_strategies: int | None = None


# The shipped catalogue's (max_running_sessions, max_stored_strategies): of subscriptions that were published before
# plans had these limits. Without them nothing would be limited.
LIMITS_UNPUBLISHED: Mapping[str, tuple[int, int]] = {"FREE": (3, 10), "PREMIUM": (50, 100), "PRO": (1_000, 1_000)}

LimitName = Literal["max_active_strategies", "max_symbols", "max_running_sessions"]

# Of one tenant, whatever their plan.
MOST_VERSIONS = 200  # of a strategy
MOST_CONFIGURATIONS = 100
MOST_EVER_STORED = 10_000  # strategies, those given up among them
MOST_PUBLISHED = 10
STORED_BEFORE_PLAN = 10  # strategies, while the plan of a new account is not known here yet


@dataclass(frozen=True)
class RunningSession:
    session_id: UUID
    strategy_id: UUID
    symbol: str


@dataclass(frozen=True)
class Limit:
    """A limit that would be exceeded."""

    name: LimitName
    limit: int
    used: int


@dataclass
class _InUse:
    """What running sessions take of a plan."""

    strategies: set[UUID] = field(default_factory=set)
    symbols: set[str] = field(default_factory=set)
    sessions: int = 0

    def add(self, session: RunningSession) -> None:
        self.strategies.add(session.strategy_id)
        self.symbols.add(session.symbol)
        self.sessions += 1

    def exceeded_by(self, wanted: RunningSession, limits: PlanLimits) -> Limit | None:
        """The first limit that one more session would exceed."""
        checks: tuple[tuple[LimitName, int | None, int, bool], ...] = (
            (
                "max_active_strategies",
                limits.max_active_strategies,
                len(self.strategies),
                wanted.strategy_id in self.strategies,
            ),
            ("max_symbols", limits.max_symbols, len(self.symbols), wanted.symbol in self.symbols),
            ("max_running_sessions", limits.max_running_sessions, self.sessions, False),
        )
        for name, limit, used, counted in checks:
            if limit is not None and not counted and used >= limit:
                return Limit(name, limit, used)
        return None


def exceeded_limit(limits: PlanLimits, running: Iterable[RunningSession], wanted: RunningSession) -> Limit | None:
    """The first limit of the plan that one more session would exceed."""
    in_use = _InUse()
    for session in running:
        in_use.add(session)
    return in_use.exceeded_by(wanted, limits)


def sessions_within(limits: PlanLimits, running: Iterable[RunningSession]) -> set[UUID]:
    """Of these sessions, oldest first, those that may keep entering: the ones started first stay within."""
    sessions = list(running)
    return {session.session_id for session in sessions} - limited_sessions(limits, sessions).keys()


def limited_sessions(limits: PlanLimits, running: Iterable[RunningSession]) -> dict[UUID, Limit]:
    """The others, each with the limit that it would exceed."""
    kept = _InUse()
    limited: dict[UUID, Limit] = {}
    for session in running:
        exceeded = kept.exceeded_by(session, limits)
        if exceeded is None:
            kept.add(session)
        else:
            limited[session.session_id] = exceeded
    return limited


@dataclass(frozen=True)
class ConfigurationLimits:
    """What an entry may not exceed, whatever the strategy says; percentages of the entry price."""

    max_position_size: Decimal | None = None
    stop_loss_percentage: Decimal | None = None
    take_profit_percentage: Decimal | None = None
    min_stop_distance_percentage: Decimal | None = None

    def refusal(self, entry: EntryProposal) -> str | None:
        """The code of what forbids this entry."""
        if self.max_position_size is not None and entry.notional > self.max_position_size:
            return "max_position_size"
        stop = entry.stop_distance_pct
        if self.stop_loss_percentage is not None and (stop is None or stop > self.stop_loss_percentage):
            return "stop_loss_percentage"
        least = self.min_stop_distance_percentage
        if least is not None and stop is not None and stop < least:
            return "min_stop_distance_percentage"
        farthest = self.take_profit_percentage
        if farthest is not None and any(pct > farthest for pct in entry.take_profit_pcts):
            return "take_profit_percentage"
        return None


REFUSALS: dict[Entries, str] = {"PAUSED": "paused", "PLAN_LIMIT": "plan_limit"}
FEED_SILENT = "feed_silent"
LONGEST_SILENCE = timedelta(minutes=2)  # beyond an expected bar; then nothing is entered


def entry_guard(entries: Entries, limits: ConfigurationLimits, *, silent: bool = False) -> EntryGuard:
    """What the execution asks before it orders an entry."""
    refused = REFUSALS.get(entries, FEED_SILENT if silent else None)
    return lambda proposal: refused or limits.refusal(proposal)


def entry_deadline(interval: str) -> timedelta:
    """How long after its bar's close a step is on time."""
    return min(timedelta(milliseconds=INTERVAL_MS[interval] // 10), LONGEST_DEADLINE)


def history_needed(longest_lookback: int) -> int:
    """So many bars a strategy's series has to hold: its longest period is at most a fifth of them."""
    return 5 * longest_lookback


def is_late(venue_now: datetime, due: datetime, interval: str) -> bool:
    """Whether a step that was due then is taken late, by the exchange's clock."""
    return venue_now > due + entry_deadline(interval)


Awaited = Literal["history", "first_bar", "bar", "feed"]
AWAITED: tuple[Awaited, ...] = get_args(Awaited)


@dataclass(frozen=True)
class Waiting:
    """What a session waits for, since when, and when it was expected; by the exchange's clock."""

    what: Awaited
    since: datetime
    expected_at: datetime


def awaited_bar(start: datetime, last_bar: datetime | None, interval: str, *, has_history: bool) -> Waiting:
    """The next bar of a session that was started then and stands at `last_bar`; before it, its series' history."""
    step = timedelta(milliseconds=INTERVAL_MS[interval])
    if last_bar is not None:
        return Waiting("bar", last_bar + step, last_bar + 2 * step)
    if not has_history:
        return Waiting("history", start, start)
    opens = EPOCH + ((start - EPOCH) // step + 1) * step
    return Waiting("first_bar", start, opens + step)


@dataclass(frozen=True)
class InstrumentChange:
    """What a session enters by from the bar after `after_bar` on; None: from the first."""

    after_bar: datetime | None
    instrument: Instrument


def instrument_at(changes: Sequence[InstrumentChange], bar: datetime) -> Instrument | None:
    """What an entry decided at this bar's close is sized by; None: what the session began with."""
    held = [each for each in changes if each.after_bar is None or each.after_bar < bar]
    return held[-1].instrument if held else None


@dataclass(frozen=True)
class SessionTotals:
    """A session's running sums, moved by each closed trade."""

    total_trades: int
    winning_trades: int
    losing_trades: int
    total_pnl: Decimal
    highest_equity: Decimal
    max_drawdown: Decimal  # percent, from the highest equity so far

    def equity(self, initial_balance: Decimal) -> Decimal:
        with exact():
            return initial_balance + self.total_pnl

    def with_trade(self, pnl: Decimal, initial_balance: Decimal) -> "SessionTotals":
        with exact():
            total = self.total_pnl + pnl
            equity = initial_balance + total
            highest = max(self.highest_equity, equity)
            drawdown = quantised_quotient((highest - equity) * HUNDRED, highest)
        return SessionTotals(
            self.total_trades + 1,
            self.winning_trades + (pnl > 0),
            self.losing_trades + (pnl < 0),
            total,
            highest,
            max(self.max_drawdown, drawdown),
        )
