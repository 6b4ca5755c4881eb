"""Verify a finished session against a backtest of its bars under the same restrictions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.domain import Block, Entries, entry_guard, instrument_at
from services.trading.operations.execution_settings import first_bar_ms_of, strategy_of, terms_of
from services.trading.queries import candles, intents, sessions, trades
from services.trading.queries.candles import SeriesRow
from services.trading.queries.restrictions import (
    BY_NUMBER,
    Kind,
    RestrictionRow,
    instrument_changes,
    list_restrictions,
)
from services.trading.queries.sessions import SessionRow
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import from_ms, to_ms
from shared.strategy.bars import Bar
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import EntryGuard, Fill, Position, Reason, StepOutcome, Trade
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series

MAX_RESTRICTIONS = 100_000
MAX_BARS = 10_000_000
PROGRESS_EVERY = 500
# The session's `entries` from the bar after the restriction on; a later restriction replaces an earlier one.
ENTRIES_AFTER: Mapping[Kind, Entries] = {
    "PAUSED": "PAUSED",
    "RESUMED": "ALLOWED",
    "PLAN_LIMIT": "PLAN_LIMIT",
    "PLAN_LIMIT_LIFTED": "ALLOWED",
    "STOPPING": "STOPPING",
}
BLOCKED_AFTER: Mapping[Kind, tuple[Block, bool]] = {
    "KILL_SWITCH": ("KILL_SWITCH", True),
    "KILL_SWITCH_LIFTED": ("KILL_SWITCH", False),
    "FROZEN": ("FROZEN", True),
    "FROZEN_LIFTED": ("FROZEN", False),
    "ACCOUNT_RISK": ("ACCOUNT_RISK", True),
    "ACCOUNT_RISK_LIFTED": ("ACCOUNT_RISK", False),
    "NOT_RECONCILED": ("NOT_RECONCILED", True),
    "NOT_RECONCILED_LIFTED": ("NOT_RECONCILED", False),
    "ACCOUNT_REFUSED": ("ACCOUNT_REFUSED", True),
    "ACCOUNT_REFUSED_LIFTED": ("ACCOUNT_REFUSED", False),
    "FAILED": ("FAILED", True),
    "FAILED_LIFTED": ("FAILED", False),
}
SILENT_AFTER: Mapping[Kind, bool] = {"FEED_SILENT": True, "FEED_SILENT_LIFTED": False}
Progress = Callable[[int, int], None]
Watch = Callable[[int, Position | None], None]


class NotVerifiable(ValueError):
    """The session does not exist or has not ended, or its candles or its strategy are gone."""


@dataclass(frozen=True)
class SessionRecord:
    """A finished session as recorded. Times are in ms.

    `missed` are the bars at whose close a live session decided an entry that was never filled; they count as
    refused. `opened` is the open of the last bar, if step 1 was taken there and its close was not seen. `closed_at`
    is the time and price of the last bar seen, at which a stop closes.
    """

    session: SessionRow
    restrictions: Sequence[RestrictionRow]
    bars: Sequence[Bar]
    opened: tuple[int, Decimal] | None
    closed_at: tuple[int, Decimal] | None
    fills: Sequence[Fill]
    missed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Verification:
    recorded: SessionRecord
    backtest: Sequence[Fill]
    trades: Sequence[Trade]
    final_balance: Decimal

    @property
    def fingerprints(self) -> tuple[str, str]:
        """The fingerprint of the session's fills, and that of the backtest's."""
        return fingerprint(self.recorded.fills), fingerprint(self.backtest)

    @property
    def holds(self) -> bool:
        session = self.recorded.session
        own, other = self.fingerprints
        return own == other == session.fingerprint and session.final_balance == self.final_balance

    def first_difference(self) -> int | None:
        """Return the number of the first fill that differs or that only one of them has."""
        own, other = [[_line(fill) for fill in fills] for fills in (self.recorded.fills, self.backtest)]
        for number in range(max(len(own), len(other))):
            if own[number : number + 1] != other[number : number + 1]:
                return number + 1
        return None


async def read_session(database: Database, session_id: UUID) -> SessionRecord:
    """Read the record of a stopped session. Raises NotVerifiable."""
    user_id = await locate_session(database, session_id)
    async with database.tenant(user_id) as connection:
        recorded = await read_record(connection, user_id, session_id)
    if recorded.session.status != "STOPPED":
        raise NotVerifiable(f"session {session_id} is {recorded.session.status}: stop it first")
    return recorded


async def locate_session(database: Database, session_id: UUID) -> int:
    """Return the session's tenant. Raises NotVerifiable."""
    async with database.untenanted() as connection:
        user_id = await sessions.locate_session(connection, session_id)
    if user_id is None:
        raise NotVerifiable(f"there is no session {session_id}")
    return user_id


async def read_record(
    connection: Connection, user_id: int, session_id: UUID, most_bars: int = MAX_BARS
) -> SessionRecord:
    """Read the session as far as it has come. Raises NotFound, NotVerifiable."""
    session = await sessions.get_session(connection, user_id, session_id)
    restrictions = await list_restrictions(connection, user_id, session_id, Slice(BY_NUMBER, MAX_RESTRICTIONS))
    filled = await trades.list_session_fills(connection, user_id, session_id)
    if session.last_bar is None:
        return SessionRecord(session, restrictions, [], None, None, filled)
    series = await candles.find_series(
        connection, session.venue, session.symbol, session.interval, session.generation
    )
    assert series is not None, "the session stepped through it"
    missed = await intents.list_missed_entries(connection, user_id, session_id)
    bars = await candles.list_bars_between(connection, series.series_id, None, session.last_bar, most_bars + 1)
    if len(bars) > most_bars:
        raise NotVerifiable(f"it has more than {most_bars} bars")
    if not bars or bars[-1].open_time_ms != to_ms(session.last_bar):
        raise NotVerifiable(f"the candles up to its last bar {session.last_bar} are no longer stored")
    opened = closed_at = None
    if session.status == "STOPPED":
        stop = restrictions[-1]
        opened = await _open_of(connection, series, stop.opened_bar) if stop.opened_bar else None
        closed_at = (bars[-1].open_time_ms, bars[-1].close)
        if stop.price_bar is not None and stop.price_bar > session.last_bar:
            closed_at = await _open_of(connection, series, stop.price_bar)
    return SessionRecord(session, restrictions, bars, opened, closed_at, filled, frozenset(map(to_ms, missed)))


async def _open_of(connection: Connection, series: SeriesRow, open_time: datetime) -> tuple[int, Decimal]:
    """Return a bar's time and open, from its announcement if it has not closed yet. Raises NotVerifiable."""
    bar = await candles.find_bar(connection, series.series_id, open_time)
    if bar is not None:
        return bar.open_time_ms, bar.open
    if series.opened_time == open_time and series.opened_price is not None:
        return to_ms(open_time), series.opened_price
    raise NotVerifiable(f"the candle of {open_time}, whose open the session used, is no longer stored")


def verify(recorded: SessionRecord, progress: Progress | None = None, watch: Watch | None = None) -> Verification:
    """Run the backtest. Raises NotVerifiable.

    Calls `progress(done, total)` now and then, and `watch(open time in ms, position)` after each bar's open.
    """
    session, series = recorded.session, Series(recorded.bars)
    if not recorded.bars:
        return Verification(recorded, [], [], session.initial_balance)
    strategy = strategy_of(session.strategy_config)
    if strategy.content_hash != session.strategy_hash:
        raise NotVerifiable("its strategy does not have the hash recorded with the session")
    first_bar_ms = first_bar_ms_of(session)
    execution = Execution(strategy, terms_of(session), first_bar_ms)
    changes = instrument_changes(recorded.restrictions)
    outcomes: list[StepOutcome] = []
    for index, guard in enumerate(_guards(recorded)):
        bar = recorded.bars[index]
        if bar.open_time_ms >= first_bar_ms:
            outcomes.append(execution.on_open(bar.open_time_ms, bar.open))
            if watch is not None:
                watch(bar.open_time_ms, execution.position)
            changed = instrument_at(changes, from_ms(bar.open_time_ms))
            outcomes.append(execution.on_close(series, index, guard, changed))
        if progress is not None and index % PROGRESS_EVERY == 0:
            progress(index, len(recorded.bars))
    if recorded.opened is not None:
        outcomes.append(execution.on_open(*recorded.opened))
    if recorded.closed_at is not None:
        outcomes.append(execution.stop(*recorded.closed_at, reason_of(recorded)))
    fills = [fill for outcome in outcomes for fill in outcome.fills]
    trades = [trade for outcome in outcomes for trade in outcome.trades]
    return Verification(recorded, fills, trades, execution.equity)


def reason_of(recorded: SessionRecord) -> Reason:
    return "end_of_data" if recorded.session.stop_reason == "end_of_data" else "manual"


def _guards(recorded: SessionRecord) -> Iterator[EntryGuard]:
    """Yield each bar's check on entries: a restriction applies from the bar after `after_bar` on."""
    left = list(recorded.restrictions)
    entries: Entries = "ALLOWED"
    blocks: dict[Block, bool] = {}
    silent = False
    for bar in recorded.bars:
        moment = from_ms(bar.open_time_ms)
        while left and (left[0].after_bar is None or left[0].after_bar < moment):
            kind = left.pop(0).kind
            entries, silent = ENTRIES_AFTER.get(kind, entries), SILENT_AFTER.get(kind, silent)
            blocks.update([BLOCKED_AFTER[kind]] if kind in BLOCKED_AFTER else [])
        blocked: Entries = next((block for block, is_on in blocks.items() if is_on), "ALLOWED")
        allowed: Entries = entries if entries != "ALLOWED" else blocked
        if bar.open_time_ms in recorded.missed:
            yield lambda _: "missed"
        else:
            yield entry_guard(allowed, recorded.session.limits, silent=silent)


def _line(fill: Fill) -> tuple[object, ...]:
    return fill.time_ms, fill.action, fill.side, fill.qty, fill.price, fill.reason
