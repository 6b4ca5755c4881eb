"""Trading rules; pure."""

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

SessionStatus = Literal["ACTIVE", "PAUSED", "STOPPING", "STOPPED"]
Block = Literal["KILL_SWITCH", "FROZEN", "ACCOUNT_RISK", "NOT_RECONCILED", "ACCOUNT_REFUSED", "FAILED"]
Entries = Literal["ALLOWED", "PAUSED", "PLAN_LIMIT", "STOPPING"] | Block
"""What a session may enter: everything, or nothing, with the cause. Blocks are lifted each for itself; of several
causes, the person's and the plan's show first."""
StopReason = Literal["manual", "end_of_data"]
# Allowed changes of status; setting the current status changes nothing.
TRANSITIONS: Mapping[SessionStatus, frozenset[SessionStatus]] = {
    "ACTIVE": frozenset({"PAUSED", "STOPPING", "STOPPED"}),
    "PAUSED": frozenset({"ACTIVE", "STOPPING", "STOPPED"}),
    "STOPPING": frozenset({"STOPPED"}),
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


# (max_running_sessions, max_stored_strategies) of the shipped catalogue, for subscriptions published before plans
# had these limits. Without them nothing would be limited.
LIMITS_UNPUBLISHED: Mapping[str, tuple[int, int]] = {"FREE": (3, 10), "PREMIUM": (50, 100), "PRO": (1_000, 1_000)}

LimitName = Literal["max_active_strategies", "max_symbols", "max_running_sessions"]

# Per tenant, in every plan.
MAX_VERSIONS = 200  # per strategy
MAX_CONFIGURATIONS = 100
MAX_EVER_STORED = 10_000  # strategies, including deleted ones
MAX_PUBLISHED = 10
STORED_BEFORE_PLAN = 10  # strategies, until the plan of a new account arrives here


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
class _PlanUsage:
    """The part of a plan that running sessions use."""

    strategies: set[UUID] = field(default_factory=set)
    symbols: set[str] = field(default_factory=set)
    sessions: int = 0

    def add(self, session: RunningSession) -> None:
        self.strategies.add(session.strategy_id)
        self.symbols.add(session.symbol)
        self.sessions += 1

    def exceeded_by(self, requested: RunningSession, limits: PlanLimits) -> Limit | None:
        """Return the first limit that one more session would exceed."""
        checks: tuple[tuple[LimitName, int | None, int, bool], ...] = (
            (
                "max_active_strategies",
                limits.max_active_strategies,
                len(self.strategies),
                requested.strategy_id in self.strategies,
            ),
            ("max_symbols", limits.max_symbols, len(self.symbols), requested.symbol in self.symbols),
            ("max_running_sessions", limits.max_running_sessions, self.sessions, False),
        )
        for name, limit, used, counted in checks:
            if limit is not None and not counted and used >= limit:
                return Limit(name, limit, used)
        return None


def exceeded_limit(
    limits: PlanLimits, running: Iterable[RunningSession], requested: RunningSession
) -> Limit | None:
    """Return the first limit of the plan that one more session would exceed."""
    usage = _PlanUsage()
    for session in running:
        usage.add(session)
    return usage.exceeded_by(requested, limits)


def sessions_within(limits: PlanLimits, running: Iterable[RunningSession]) -> set[UUID]:
    """Return the sessions, given oldest first, that may keep entering: those started first fit into the limits."""
    sessions = list(running)
    return {session.session_id for session in sessions} - limited_sessions(limits, sessions).keys()


def limited_sessions(limits: PlanLimits, running: Iterable[RunningSession]) -> dict[UUID, Limit]:
    """Return the sessions, given oldest first, that may not enter, each with the limit it would exceed."""
    usage = _PlanUsage()
    limited: dict[UUID, Limit] = {}
    for session in running:
        exceeded = usage.exceeded_by(session, limits)
        if exceeded is None:
            usage.add(session)
        else:
            limited[session.session_id] = exceeded
    return limited


@dataclass(frozen=True)
class ConfigurationLimits:
    """Limits on entries, applied in addition to the strategy's rules; percentages are of the entry price."""

    max_position_size: Decimal | None = None
    stop_loss_percentage: Decimal | None = None
    take_profit_percentage: Decimal | None = None
    min_stop_distance_percentage: Decimal | None = None

    def refusal(self, entry: EntryProposal) -> str | None:
        """Return the code of the limit that this entry exceeds, or None."""
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


REFUSALS: Mapping[Entries, str] = {
    "PAUSED": "paused",
    "PLAN_LIMIT": "plan_limit",
    "STOPPING": "stopping",
    "KILL_SWITCH": "kill_switch",
    "FROZEN": "frozen",
    "ACCOUNT_RISK": "account_risk",
    "NOT_RECONCILED": "not_reconciled",
    "ACCOUNT_REFUSED": "account_refused",
    "FAILED": "session_failed",
}
FEED_SILENT = "feed_silent"
LONGEST_SILENCE = timedelta(minutes=2)  # after a bar is due; then entries are refused


def entry_guard(entries: Entries, limits: ConfigurationLimits, *, silent: bool = False) -> EntryGuard:
    """Return the check that the execution runs before it orders an entry; it gives the refusal's code or None."""
    refused = REFUSALS.get(entries, FEED_SILENT if silent else None)
    return lambda proposal: refused or limits.refusal(proposal)


def entry_deadline(interval: str) -> timedelta:
    """Return how long after it was due a step still counts as on time."""
    return min(timedelta(milliseconds=INTERVAL_MS[interval] // 10), LONGEST_DEADLINE)


def history_needed(longest_lookback: int) -> int:
    """Return how many bars a strategy's series must hold: its longest period is at most a fifth of them."""
    return 5 * longest_lookback


def is_late(venue_now: datetime, due: datetime, interval: str) -> bool:
    """Return whether a step due at `due` is late, by the exchange's clock."""
    return venue_now > due + entry_deadline(interval)


Awaited = Literal["history", "first_bar", "bar", "feed"]
AWAITED: tuple[Awaited, ...] = get_args(Awaited)


@dataclass(frozen=True)
class Waiting:
    """The event that a session waits for, since when, and when it was expected; times by the exchange's clock."""

    what: Awaited
    since: datetime
    expected_at: datetime


def awaited_bar(start: datetime, last_bar: datetime | None, interval: str, *, has_history: bool) -> Waiting:
    """Return what a session started at `start` waits for after `last_bar`: its series' history, or the next bar."""
    step = timedelta(milliseconds=INTERVAL_MS[interval])
    if last_bar is not None:
        return Waiting("bar", last_bar + step, last_bar + 2 * step)
    if not has_history:
        return Waiting("history", start, start)
    opens = EPOCH + ((start - EPOCH) // step + 1) * step
    return Waiting("first_bar", start, opens + step)


@dataclass(frozen=True)
class InstrumentChange:
    """The instrument a session enters with from the bar after `after_bar` on; None: from the first bar."""

    after_bar: datetime | None
    instrument: Instrument


def instrument_at(changes: Sequence[InstrumentChange], bar: datetime) -> Instrument | None:
    """Return the instrument that sizes an entry decided at this bar's close; None: the session's first one."""
    applied = [each for each in changes if each.after_bar is None or each.after_bar < bar]
    return applied[-1].instrument if applied else None


@dataclass(frozen=True)
class SessionTotals:
    """A session's running sums, updated by each closed trade."""

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
