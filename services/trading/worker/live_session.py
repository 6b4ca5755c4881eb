"""One session in a worker's hands: its execution, its lease, and where it stands."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from services.trading.domain import (
    REFUSALS,
    ConfigurationLimits,
    InstrumentChange,
    SessionTotals,
    entry_guard,
    history_needed,
    instrument_at,
)
from services.trading.operations.execution_settings import strategy_of, terms_of
from services.trading.operations.record_step import StepRecord, write_step
from services.trading.queries import candles, sessions, trades
from services.trading.queries.restrictions import list_instrument_changes, steps_of
from services.trading.queries.sessions import SessionLease, SessionRow
from services.trading.queries.trades import refusal_of
from shared.chassis.crash_points import point
from shared.chassis.postgres import Database
from shared.contracts.types import from_ms, to_ms
from shared.strategy.bars import Bar, Instrument
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.outcome import NOTHING, EntryGuard, StepOutcome
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series

# What stepping one session may raise: a fault of ours, that session must not go on, and no other stops for it.
STEP_FAULTS = (ValueError, ArithmeticError, LookupError, TypeError, AssertionError)


@dataclass
class LiveSession:
    """`last_bar` is the cursor as committed; the execution may be a quiet step ahead until the batch is written.

    Entries that are refused at one close after another for the same reason are a stretch: `refusal` is its reason
    after the last close. Its first decision is written, the others are not, and `ends_refusal` is set at the first
    close that does not prolong it. All follows from the bars, so that a replay comes to the same.
    """

    row: SessionRow
    lease: SessionLease
    strategy: Strategy
    execution: Execution
    limits: ConfigurationLimits
    open_trade: UUID | None
    totals: SessionTotals
    last_bar: datetime | None
    first_bar_ms: int
    instrument_changes: list[InstrumentChange] = field(default_factory=list)
    refusal: str | None = None
    ends_refusal: bool = False
    refused_again: bool = False

    @property
    def cursor_ms(self) -> int:
        return to_ms(self.last_bar) if self.last_bar else -1

    def steps_through(self, time_ms: int) -> bool:
        """Whether this bar is ahead of it."""
        return time_ms > self.cursor_ms and time_ms >= self.first_bar_ms

    def on_open(self, time_ms: int, price: Decimal) -> StepOutcome:
        """Step 1, when something waits for it; else the close will do it."""
        self.ends_refusal = self.refused_again = False
        return self.execution.on_open(time_ms, price) if self.execution.pending else NOTHING

    def on_close(self, series: Series, index: int) -> StepOutcome:
        """Steps 2 and 3 of a bar, and step 1 before them where it was not done."""
        guard = entry_guard(self.lease.entries, self.limits, silent=self.lease.silent_since is not None)
        return self._in_stretches(self._close(series, index, guard))

    def _close(self, series: Series, index: int, guard: EntryGuard) -> StepOutcome:
        changes = self.instrument_changes
        changed = instrument_at(changes, from_ms(series.bar(index).open_time_ms)) if changes else None
        return self.execution.on_close(series, index, guard, changed)

    @property
    def instrument(self) -> Instrument:
        """What it enters by from the next bar on."""
        changes = self.instrument_changes
        return changes[-1].instrument if changes else terms_of(self.row).instrument

    @property
    def held_again(self) -> bool:
        """Whether what its lease allows refused an entry of the running stretch at the last close."""
        return self.refused_again and self.refusal in REFUSALS.values()

    def _in_stretches(self, outcome: StepOutcome) -> StepOutcome:
        """Without the decision that only prolongs a stretch of refusals."""
        refused = next((each for each in outcome.decisions if each.outcome != "pending"), None)
        refusal = refusal_of(refused) if refused is not None else None
        self.refused_again = refusal is not None and refusal == self.refusal
        self.ends_refusal = self.refusal is not None and not self.refused_again
        self.refusal = refusal
        if not self.refused_again:
            return outcome
        return outcome._replace(decisions=tuple(each for each in outcome.decisions if each is not refused))

    async def write(
        self, database: Database, outcome: StepOutcome, last_bar: datetime | None, *, late: bool
    ) -> bool:
        """Commit a step that decided; False when this worker may not, or no more."""
        step = StepRecord(
            self.lease,
            self.row,
            self.strategy.name,
            outcome,
            self.open_trade,
            self.totals,
            expected_bar=self.last_bar,
            last_bar=last_bar,
            snapshot={**self.execution.snapshot(), "refusal": self.refusal},
            late=late,
            ends_refusal=self.ends_refusal,
        )
        point("worker.before_decision")
        written = await write_step(database, step)
        if written is None:
            return False
        point("worker.after_decision")
        self.open_trade, self.totals = written.open_trade, written.totals
        self.last_bar = last_bar
        return True

    def replay(self, series: Series) -> None:
        """Bring a restored execution to the cursor: the bars since its snapshot decided nothing then. An entry that
        was refused there prolonged the stretch that the snapshot knows; what the lease allows now is no matter."""
        closed_ms = self.execution.closed_ms
        done_ms = -1 if closed_ms is None else closed_ms
        for index in range(self._first_after(done_ms, series.bars), self._first_after(self.cursor_ms, series.bars)):
            outcome = self._in_stretches(self._close(series, index, lambda _: self.refusal))
            if outcome.decides:
                raise ReplayDiffers(f"at bar {series.bar(index).open_time_ms}")

    def bars_ahead(self, bars: Sequence[Bar]) -> range:
        """Indexes of the bars that this session has still to step through."""
        return range(self._first_after(self.cursor_ms, bars), len(bars))

    def _first_after(self, time_ms: int, bars: Sequence[Bar]) -> int:
        """The first bar beyond this time that it steps through at all; the history may be long, so it is sought."""
        from_ms = max(time_ms + 1, self.first_bar_ms)
        return bisect_left(bars, from_ms, key=lambda bar: bar.open_time_ms)


class ReplayDiffers(ValueError):
    """Stepping again did not give what was stored."""


async def load_session(database: Database, lease: SessionLease) -> LiveSession | None:
    """The session under this lease; None while its instrument is not known, its series does not reach back far
    enough, or when it is gone."""
    async with database.tenant(lease.user_id) as connection:
        row = await sessions.get_session(connection, lease.user_id, lease.session_id)
        if row is None or row.status == "STOPPED":
            return None
        strategy = strategy_of(row.strategy_config)
        if row.generation is None:
            series = await candles.get_series(connection, row.venue, row.symbol, row.interval)
            instrument = await candles.get_instrument(connection, row.venue, row.symbol)
            needed = history_needed(strategy.longest_lookback)
            if series is None or instrument is None or series.reach < needed:
                return None
            await sessions.set_generation(connection, lease, series.generation)
            await sessions.set_steps(connection, lease.user_id, lease.session_id, steps_of(instrument))
            row = await sessions.get_session(connection, lease.user_id, lease.session_id)
            assert row is not None, "it was there a moment ago"
        assert row.generation is not None, "set above"
        await sessions.set_interest_generation(connection, row.user_id, row.session_id, row.generation)
        open_trade = await trades.get_open_trade(connection, row.user_id, row.session_id)
        changes = await list_instrument_changes(connection, row.user_id, row.session_id)
    terms, first_bar_ms = terms_of(row), to_ms(row.start_time) + 1
    execution = (
        Execution.restore(strategy, terms, first_bar_ms, row.snapshot, tells_forbidden=True)
        if row.snapshot is not None
        else Execution(strategy, terms, first_bar_ms, tells_forbidden=True)
    )
    refusal = cast("str | None", (row.snapshot or {}).get("refusal"))
    return LiveSession(
        row,
        lease,
        strategy,
        execution,
        row.limits,
        open_trade,
        row.totals,
        row.last_bar,
        first_bar_ms,
        changes,
        refusal,
    )
