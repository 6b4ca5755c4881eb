"""One session that a worker holds: its execution, its lease and its cursor."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
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
from services.trading.operations.execution_settings import first_bar_ms_of, strategy_of, terms_of
from services.trading.operations.record_step import StepRecord, StepResult
from services.trading.queries import candles, sessions, trades
from services.trading.queries.restrictions import list_instrument_changes
from services.trading.queries.sessions import SessionLease, SessionRow
from services.trading.queries.trades import refusal_code
from shared.chassis.postgres import Database
from shared.contracts.types import from_ms, to_ms
from shared.strategy.bars import Bar, Instrument
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.execution.fingerprint import FillHash
from shared.strategy.execution.outcome import NO_OUTCOME, EntryGuard, StepOutcome
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series

# Programming errors that stepping a session may raise. The session stops; other sessions are not affected.
STEP_FAULTS = (ValueError, ArithmeticError, LookupError, TypeError, AssertionError)


@dataclass
class LiveSession:
    """`last_bar` is the cursor as committed; the execution may be a quiet step ahead until the batch is written.

    Entries refused at consecutive closes for the same reason form a stretch; `refusal` is the reason as of the last
    close. Only the first decision of a stretch is written. `ends_refusal` is set at the first close that does not
    prolong it. All of this follows from the bars, so a replay has the same result.

    `filled` is the hash of the session's fills. It is None until the first fill in this worker, so that loading a
    session reads no fills.
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
    prolongs_refusal: bool = False
    filled: FillHash | None = None

    @property
    def is_live(self) -> bool:
        """Whether it trades on the exchange: then its actor steps it, and moves `last_bar`."""
        return not self.row.is_paper_trading

    @property
    def cursor_ms(self) -> int:
        return to_ms(self.last_bar) if self.last_bar else -1

    def steps_through(self, time_ms: int) -> bool:
        """Return whether the session still has to step through this bar."""
        return time_ms > self.cursor_ms and time_ms >= self.first_bar_ms

    def on_open(self, time_ms: int, price: Decimal) -> StepOutcome:
        """Take step 1 if orders are pending; otherwise `on_close` takes it."""
        self.ends_refusal = self.prolongs_refusal = False
        return self.execution.on_open(time_ms, price) if self.execution.pending else NO_OUTCOME

    def on_close(self, series: Series, index: int) -> StepOutcome:
        """Take steps 2 and 3 of a bar, and step 1 before them if it was not taken."""
        guard = entry_guard(self.lease.entries, self.limits, silent=self.lease.silent_since is not None)
        return self._drop_prolonging_refusal(self._close(series, index, guard))

    def on_close_with(self, refusal: str | None, series: Series, index: int) -> StepOutcome:
        """Take the same steps; entries are refused for this reason, whatever the lease allowed when it was read."""
        outcome = self._close(series, index, lambda proposal: refusal or self.limits.refusal(proposal))
        return self._drop_prolonging_refusal(outcome)

    def _close(self, series: Series, index: int, guard: EntryGuard) -> StepOutcome:
        changes = self.instrument_changes
        changed = instrument_at(changes, from_ms(series.bar(index).open_time_ms)) if changes else None
        return self.execution.on_close(series, index, guard, changed)

    @property
    def instrument(self) -> Instrument:
        """The instrument for entries from the next bar on."""
        changes = self.instrument_changes
        return changes[-1].instrument if changes else terms_of(self.row).instrument

    @property
    def is_refused_by_lease(self) -> bool:
        """True if the last close prolonged a stretch of entries refused by the lease: by a pause or the plan."""
        return self.prolongs_refusal and self.refusal in REFUSALS.values()

    def _drop_prolonging_refusal(self, outcome: StepOutcome) -> StepOutcome:
        """Update the refusal state; remove the decision from the outcome if it only prolongs a stretch."""
        refused = next((each for each in outcome.decisions if each.outcome != "pending"), None)
        refusal = refusal_code(refused) if refused is not None else None
        self.prolongs_refusal = refusal is not None and refusal == self.refusal
        self.ends_refusal = self.refusal is not None and not self.prolongs_refusal
        self.refusal = refusal
        if not self.prolongs_refusal:
            return outcome
        return outcome._replace(decisions=tuple(each for each in outcome.decisions if each is not refused))

    def record(self, outcome: StepOutcome, last_bar: datetime | None, *, late: bool) -> StepRecord:
        """Return the step that was just taken, as it is to be written."""
        return StepRecord(
            self.lease,
            self.row,
            self.strategy.name,
            outcome,
            self.open_trade,
            self.totals,
            expected_bar=self.last_bar,
            last_bar=last_bar,
            snapshot=self.snapshot(),
            late=late,
            filled=self.filled,
            ends_refusal=self.ends_refusal,
        )

    def snapshot(self) -> dict[str, object]:
        return {**self.execution.snapshot(), "refusal": self.refusal}

    def restore(self, snapshot: Mapping[str, object] | None) -> None:
        """Begin again with this snapshot; None: as a session that has not stepped."""
        self.execution = execution_of(self.row, self.strategy, snapshot)
        self.refusal = cast("str | None", (snapshot or {}).get("refusal"))
        self.ends_refusal = self.prolongs_refusal = False

    def apply(self, result: StepResult, last_bar: datetime | None) -> None:
        """Take over the result of a step that is committed."""
        self.open_trade, self.totals, self.filled = result.open_trade, result.totals, result.filled
        self.last_bar = last_bar

    def replay(self, series: Series) -> None:
        """Step a restored execution from its snapshot to the cursor. Raises ReplayDiffers if a step decides.

        The bars since the snapshot decided nothing. An entry refused there prolonged the snapshot's stretch, so the
        guard returns that refusal, whatever the lease allows now.
        """
        closed_ms = self.execution.closed_ms
        done_ms = -1 if closed_ms is None else closed_ms
        for index in range(self._first_after(done_ms, series.bars), self._first_after(self.cursor_ms, series.bars)):
            outcome = self._drop_prolonging_refusal(self._close(series, index, lambda _: self.refusal))
            if outcome.must_be_stored:
                raise ReplayDiffers(f"at bar {series.bar(index).open_time_ms}")

    def bars_ahead(self, bars: Sequence[Bar]) -> range:
        """Return the indexes of the bars that the session still has to step through."""
        return range(self._first_after(self.cursor_ms, bars), len(bars))

    def _first_after(self, time_ms: int, bars: Sequence[Bar]) -> int:
        """Return the index of the first bar after this time that the session steps through; by bisection."""
        from_ms = max(time_ms + 1, self.first_bar_ms)
        return bisect_left(bars, from_ms, key=lambda bar: bar.open_time_ms)


class ReplayDiffers(ValueError):
    """A replay decided something that was not stored."""


async def load_session(database: Database, lease: SessionLease) -> LiveSession | None:
    """Load the session under this lease.

    Returns None if it is stopped or gone, if its instrument is not known yet, or if its series does not reach back
    far enough yet.
    """
    async with database.tenant(lease.user_id) as connection:
        row = await sessions.find_session(connection, lease.user_id, lease.session_id)
        if row is None or row.status == "STOPPED":
            return None
        strategy = strategy_of(row.strategy_config)
        if row.generation is None:
            series = await candles.find_series(connection, row.venue, row.symbol, row.interval)
            instrument = await candles.find_instrument(connection, row.venue, row.symbol)
            needed = history_needed(strategy.longest_lookback)
            if series is None or instrument is None or series.reach < needed:
                return None
            await sessions.set_generation(connection, lease, series.generation)
            await sessions.set_instrument(connection, lease.user_id, lease.session_id, instrument)
            row = await sessions.get_session(connection, lease.user_id, lease.session_id)
        assert row.generation is not None, "set above"
        await sessions.set_interest_generation(connection, row.user_id, row.session_id, row.generation)
        open_trade = await trades.find_open_trade(connection, row.user_id, row.session_id)
        changes = await list_instrument_changes(connection, row.user_id, row.session_id)
    refusal = cast("str | None", (row.snapshot or {}).get("refusal"))
    return LiveSession(
        row,
        lease,
        strategy,
        execution_of(row, strategy, row.snapshot),
        row.limits,
        open_trade,
        row.totals,
        row.last_bar,
        first_bar_ms_of(row),
        changes,
        refusal,
    )


def execution_of(row: SessionRow, strategy: Strategy, snapshot: Mapping[str, object] | None) -> Execution:
    """Return the execution of a snapshot, or a new one; of a live session, one that is filled by the exchange."""
    kind = Execution if row.is_paper_trading else ExchangeExecution
    terms, first_bar_ms = terms_of(row), first_bar_ms_of(row)
    if snapshot is None:
        return kind(strategy, terms, first_bar_ms, report_forbidden=True)
    return kind.restore(strategy, terms, first_bar_ms, snapshot, report_forbidden=True)
