"""Whether a finished session did what a backtest of its bars does, under what held it back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.domain import Entries, entry_guard, instrument_at
from services.trading.operations.execution_settings import strategy_of, terms_of
from services.trading.queries import candles, sessions, trades
from services.trading.queries.candles import SeriesRow
from services.trading.queries.restrictions import (
    Kind,
    RestrictionRow,
    instrument_changes,
    list_restrictions,
)
from services.trading.queries.sessions import SessionRow
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import from_ms, to_ms
from shared.strategy.bars import Bar
from shared.strategy.document.fingerprint import fingerprint
from shared.strategy.execution.outcome import EntryGuard, Fill, Position, Reason, StepOutcome, Trade
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series

MOST_RESTRICTIONS = 100_000
MOST_BARS = 10_000_000
PROGRESS_EVERY = 500
# What an entry is refused for, from the bar after the restriction on; a pause and the plan take turns.
ENTRIES_AFTER: Mapping[Kind, Entries] = {
    "PAUSED": "PAUSED",
    "RESUMED": "ALLOWED",
    "PLAN_LIMIT": "PLAN_LIMIT",
    "PLAN_LIMIT_LIFTED": "ALLOWED",
}
SILENT_AFTER: Mapping[Kind, bool] = {"FEED_SILENT": True, "FEED_SILENT_LIFTED": False}
Progress = Callable[[int, int], None]
Watch = Callable[[int, Position | None], None]


class NotVerifiable(ValueError):
    """It is not there, not finished, or what it was traded on is not."""


@dataclass(frozen=True)
class Recorded:
    """What is known of a session that has ended. `opened` is the open of the bar whose close it did not see, where
    step 1 was taken at it, `closed_at` the time and price of the last bar it saw, at which a stop closes."""

    session: SessionRow
    restrictions: Sequence[RestrictionRow]
    bars: Sequence[Bar]
    opened: tuple[int, Decimal] | None
    closed_at: tuple[int, Decimal] | None
    fills: Sequence[Fill]


@dataclass(frozen=True)
class Verification:
    recorded: Recorded
    backtest: Sequence[Fill]
    trades: Sequence[Trade]
    final_balance: Decimal

    @property
    def fingerprints(self) -> tuple[str, str]:
        """The session's, which is also what was stored as it ended, and the backtest's."""
        return fingerprint(self.recorded.fills), fingerprint(self.backtest)

    @property
    def holds(self) -> bool:
        session = self.recorded.session
        own, other = self.fingerprints
        return own == other == session.fingerprint and session.final_balance == self.final_balance

    def first_difference(self) -> int | None:
        """The number of the first fill that one of them does not have, or has otherwise."""
        own, other = [[_line(fill) for fill in fills] for fills in (self.recorded.fills, self.backtest)]
        for number in range(max(len(own), len(other))):
            if own[number : number + 1] != other[number : number + 1]:
                return number + 1
        return None


async def read_session(database: Database, session_id: UUID) -> Recorded:
    """Raises NotVerifiable."""
    async with database.untenanted() as connection:
        user_id = await sessions.locate_session(connection, session_id)
    if user_id is None:
        raise NotVerifiable(f"there is no session {session_id}")
    async with database.tenant(user_id) as connection:
        session = await sessions.get_session(connection, user_id, session_id)
        assert session is not None, "it was located"
        if session.status != "STOPPED":
            raise NotVerifiable(f"session {session_id} is {session.status}: stop it first")
        restrictions = await list_restrictions(connection, user_id, session_id, 0, MOST_RESTRICTIONS)
        filled = await trades.list_fills_of(connection, user_id, [session_id])
        if session.last_bar is None:
            return Recorded(session, restrictions, [], None, None, filled[session_id])
        series = await candles.get_series(
            connection, session.venue, session.symbol, session.interval, session.generation
        )
        assert series is not None, "the session stepped through it"
        bars = await candles.list_bars_between(connection, series.series_id, None, session.last_bar, MOST_BARS)
        if not bars or bars[-1].open_time_ms != to_ms(session.last_bar):
            raise NotVerifiable(f"the candles up to {session.last_bar}, its last bar, are not there any more")
        stop = restrictions[-1]
        opened = await _open_of(connection, series, stop.opened_bar) if stop.opened_bar else None
        closed_at = (bars[-1].open_time_ms, bars[-1].close)
        if stop.price_bar is not None and stop.price_bar > session.last_bar:
            closed_at = await _open_of(connection, series, stop.price_bar)
    return Recorded(session, restrictions, bars, opened, closed_at, filled[session_id])


async def _open_of(connection: Connection, series: SeriesRow, open_time: datetime) -> tuple[int, Decimal]:
    """Of a bar, as announced where it has not closed yet. Raises NotVerifiable."""
    bar = await candles.get_bar(connection, series.series_id, open_time)
    if bar is not None:
        return bar.open_time_ms, bar.open
    if series.opened_time == open_time and series.opened_price is not None:
        return to_ms(open_time), series.opened_price
    raise NotVerifiable(f"the candle of {open_time}, whose open it saw, is not there any more")


def verify(recorded: Recorded, progress: Progress | None = None, watch: Watch | None = None) -> Verification:
    """The backtest; `progress(done, total)` is told now and then, `watch` after each bar's open what is held."""
    session, series = recorded.session, Series(recorded.bars)
    if not recorded.bars:
        return Verification(recorded, [], [], session.initial_balance)
    strategy = strategy_of(session.strategy_config)
    if strategy.content_hash != session.strategy_hash:
        raise NotVerifiable("its strategy is not the one whose hash it recorded")
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


def first_bar_ms_of(session: SessionRow) -> int:
    """It decides from the first bar on that opens after it was started."""
    return to_ms(session.start_time) + 1


def reason_of(recorded: Recorded) -> Reason:
    return "end_of_data" if recorded.session.stop_reason == "end_of_data" else "manual"


def _guards(recorded: Recorded) -> Iterator[EntryGuard]:
    """What refuses entries at each bar's close: each restriction holds from the bar after `after_bar` on."""
    left = list(recorded.restrictions)
    entries: Entries = "ALLOWED"
    silent = False
    for bar in recorded.bars:
        moment = from_ms(bar.open_time_ms)
        while left and (left[0].after_bar is None or left[0].after_bar < moment):
            kind = left.pop(0).kind
            entries, silent = ENTRIES_AFTER.get(kind, entries), SILENT_AFTER.get(kind, silent)
        yield (lambda _: "feed_silent") if silent else entry_guard(entries, recorded.session.limits)


def _line(fill: Fill) -> tuple[object, ...]:
    return fill.time_ms, fill.action, fill.side, fill.qty, fill.price, fill.reason
