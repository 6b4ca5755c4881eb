"""Write the outcomes of sessions' steps: decisions, fills, trades, and their events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from services.trading.domain import SessionTotals
from services.trading.operations.step_effects import (
    Effects,
    TradeFills,
    count_events,
    group_by_trade,
    open_trade_after,
    write_effects,
)
from services.trading.queries import decisions, steps, trades
from services.trading.queries.sessions import SessionLease, SessionRow
from services.trading.queries.steps import Cursor, Move, NewDecision
from services.trading.queries.trades import refusal_code
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of
from shared.contracts.types import from_ms, new_id
from shared.strategy.execution.fingerprint import FillHash
from shared.strategy.execution.outcome import Decision, Fill, StepOutcome


@dataclass(frozen=True)
class StepRecord:
    """One step to be written. `expected_bar` is the `last_bar` that the session must still have."""

    lease: SessionLease
    session: SessionRow
    strategy_name: str
    outcome: StepOutcome
    open_trade: UUID | None
    totals: SessionTotals
    expected_bar: datetime | None
    last_bar: datetime | None
    snapshot: dict[str, object]
    late: bool
    filled: FillHash | None = None  # the hash of the session's fills before the step, if known
    ends_refusal: bool = False  # a stretch of refused entries lasted until `expected_bar`


@dataclass(frozen=True)
class StepResult:
    open_trade: UUID | None
    totals: SessionTotals
    filled: FillHash | None


@dataclass(frozen=True)
class _PlannedStep:
    """A step, with what follows from its record."""

    record: StepRecord
    by_trade: Sequence[TradeFills]
    totals: SessionTotals
    filled: FillHash | None

    @classmethod
    def of(cls, record: StepRecord, earlier: Mapping[UUID, Sequence[Fill]]) -> "_PlannedStep":
        """`earlier` are the fills of sessions whose hash is unknown."""
        filled = record.filled
        if record.outcome.fills:
            filled = filled if filled is not None else FillHash().extended(earlier[record.lease.session_id])
            filled = filled.extended(record.outcome.fills)
        return cls(
            record,
            group_by_trade(record.outcome, record.open_trade),
            totals_after(record.totals, record.outcome, record.session),
            filled,
        )

    @property
    def session_id(self) -> UUID:
        return self.record.session.session_id

    @property
    def move(self) -> Move:
        record, lease, totals = self.record, self.record.lease, self.totals
        return Move(
            lease.user_id,
            lease.session_id,
            lease.epoch,
            lease.entries,
            record.expected_bar,
            record.last_bar,
            record.snapshot,
            totals.total_trades,
            totals.winning_trades,
            totals.losing_trades,
            totals.total_pnl,
            totals.highest_equity,
            totals.max_drawdown,
            fills=len(record.outcome.fills),
            events=count_events(self.by_trade),
            fingerprint=self.filled.fingerprint if self.filled is not None and record.outcome.fills else None,
        )

    def effects(self, after: Cursor) -> Effects:
        record = self.record
        return Effects(
            record.session, record.strategy_name, record.outcome, self.by_trade, record.totals, after, record.late
        )

    @property
    def result(self) -> StepResult:
        return StepResult(open_trade_after(self.by_trade, self.record.open_trade), self.totals, self.filled)


async def write_steps(connection: Connection, records: Sequence[StepRecord]) -> dict[UUID, StepResult]:
    """Write a step of each of these sessions, in one statement per table. Returns the results by session.

    Nothing is written of a session whose lease, cursor or allowed entries have changed, and it has no result: the
    worker has to read it again.
    """
    unknown = [record.lease for record in records if record.outcome.fills and record.filled is None]
    earlier = await steps.list_fills_of(connection, unknown) if unknown else {}
    planned = [_PlannedStep.of(record, earlier) for record in records]
    cursors = await steps.move_sessions(connection, [step.move for step in planned])
    moved = [step for step in planned if step.session_id in cursors]
    await _write_decisions(connection, [step.record for step in moved])
    await write_effects(connection, [step.effects(cursors[step.session_id]) for step in moved])
    await _end_orders(connection, [step.record for step in moved])
    return {step.session_id: step.result for step in moved}


async def _write_decisions(connection: Connection, records: Sequence[StepRecord]) -> None:
    """End stretches of refusals, and insert the decisions."""
    if ended := [record for record in records if record.ends_refusal]:
        await decisions.end_refusals(
            connection,
            [record.session.user_id for record in ended],
            [record.session.session_id for record in ended],
            [record.expected_bar for record in ended],
        )
    if new := [new_decision(record.session, each) for record in records for each in record.outcome.decisions]:
        await steps.insert_decisions(connection, new)


def new_decision(session: SessionRow, decision: Decision) -> NewDecision:
    return NewDecision(
        session.user_id,
        session.session_id,
        session.strategy_hash,
        new_id(),
        from_ms(decision.time_ms),
        decision.kind,
        decision.side,
        decision.reason,
        decision.qty,
        "pending" if decision.outcome == "pending" else "refused",
        refusal_code(decision),
        dict(decision.values),
        dict(decision.checks),
        decision.allowed,
        decision.asked,
    )


async def _end_orders(connection: Connection, records: Sequence[StepRecord]) -> None:
    """End the orders that were pending at the open of sessions that filled or dropped one there."""
    ended = [
        (record.session.user_id, record.session.session_id, opened)
        for record in records
        if (record.outcome.fills or record.outcome.dropped)
        and (opened := last_opened_bar(record.snapshot)) is not None
    ]
    if ended:
        await decisions.end_orders(connection, *arrays_of(ended))


async def write_stop(
    connection: Connection,
    session: SessionRow,
    strategy_name: str,
    outcome: StepOutcome,
    open_trade: UUID | None,
    *,
    more_events: int,
) -> tuple[SessionTotals, int]:
    """Write the outcome of a stop, in the caller's transaction.

    Returns the totals and the session's last event number, with `more_events` numbers reserved for the caller.
    """
    if session.last_bar is not None:
        await decisions.end_all(connection, session.user_id, session.session_id, session.last_bar)
    by_trade = group_by_trade(outcome, open_trade)
    totals = totals_after(session.totals, outcome, session)
    events = count_events(by_trade)
    cursor = await trades.update_totals(
        connection, session.user_id, session.session_id, totals, len(outcome.fills), events + more_events
    )
    before_more = Cursor(cursor.fill_count, cursor.event_seq - more_events)
    effects = Effects(session, strategy_name, outcome, by_trade, session.totals, before_more, late=False)
    await write_effects(connection, [effects])
    return totals, cursor.event_seq


def last_opened_bar(snapshot: Mapping[str, object]) -> datetime | None:
    """Return the last bar whose open the session has processed."""
    opened_ms = cast("int | None", snapshot.get("opened_ms"))
    return from_ms(opened_ms) if opened_ms is not None else None


def totals_after(totals: SessionTotals, outcome: StepOutcome, session: SessionRow) -> SessionTotals:
    for trade in outcome.trades:
        totals = totals.with_trade(trade.pnl, session.initial_balance)
    return totals
