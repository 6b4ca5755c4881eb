"""Write changes of live sessions: steps, intents, executions, trades and their events, fenced by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

from services.trading.domain import SessionTotals
from services.trading.operations.alarms import alarm_incidents
from services.trading.operations.limit_entries import Admission, EntryRefusal, NewEntry, admit_entries
from services.trading.operations.record_step import new_decision, totals_after
from services.trading.operations.step_effects import (
    Effects,
    FillOrigin,
    TradeFills,
    count_events,
    group_by_trade,
    open_trade_after,
    write_effects,
)
from services.trading.orders.intents import Intent, IntentState
from services.trading.orders.store import Booking, Change
from services.trading.queries import decisions, executions, intents, leases, sessions, steps
from services.trading.queries.executions import NewExecution, NewFunding
from services.trading.queries.intents import IntentWrite
from services.trading.queries.sessions import SessionLease, SessionRow
from services.trading.queries.steps import Cursor, Move, NewDecision
from shared.chassis.postgres import Connection
from shared.strategy.bars import INTERVAL_MS
from shared.strategy.decimals import ZERO, exact
from shared.strategy.execution.fingerprint import FillHash
from shared.strategy.execution.outcome import Decision


@dataclass(frozen=True)
class OrderState:
    """The state of a live session, as far as its next change needs it.

    `foreign`: the executions that await an answer. `ignored`: see `Loaded`. `refusal`: why the last close refused
    an entry, if it did. `filled` None: not read yet.
    """

    last_bar: datetime | None
    totals: SessionTotals
    open_trade: UUID | None = None
    open_quantity: Decimal = ZERO
    foreign: frozenset[str] = frozenset()
    ignored: Decimal = ZERO
    refusal: str | None = None
    filled: FillHash | None = None


@dataclass(frozen=True)
class OrderRecord:
    """A change to be written at `now`, by the exchange's clock, on top of `state`."""

    lease: SessionLease
    session: SessionRow
    strategy_name: str
    state: OrderState
    change: Change
    now: datetime

    @property
    def account_id(self) -> UUID:
        assert self.session.exchange_account_id is not None, "a session with orders has an account"
        return self.session.exchange_account_id

    @property
    def new_entries(self) -> list[Intent]:
        """The entries that the change records: none of them has passed the gate."""
        return [
            each
            for each in self.change.intents
            if each.is_entry and each.state is IntentState.INTENT and each.sent_at is None
        ]

    @property
    def refusal(self) -> str | None:
        """Why the last close refused an entry, as the snapshot has it."""
        return cast("str | None", self.change.snapshot.get("refusal"))

    @property
    def is_quiet(self) -> bool:
        """True for a step that only moves the cursor: it can be repeated from the stored bars after a restart."""
        change = self.change
        effects = change.outcome.must_be_stored or change.intents or change.bookings or change.incidents
        alters = change.alters_lease or change.ignored != self.state.ignored
        return change.bar is not None and not effects and not alters and self.refusal == self.state.refusal

    @property
    def own_bookings(self) -> list[Booking]:
        """The bookings that are fills of the session, in the order of the outcome's fills."""
        return [booking for booking in self.change.bookings if booking.effect in ("entry", "close")]


@dataclass(frozen=True)
class OrderResult:
    """The state after a change, and the entries that a limit refused, by link id."""

    state: OrderState
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Written:
    """The results by session, and the accounts whose entries stop from now on."""

    results: Mapping[UUID, OrderResult]
    breached: frozenset[tuple[int, UUID]]


@dataclass(frozen=True)
class _Planned:
    """A change, with what follows from its record."""

    record: OrderRecord
    by_trade: Sequence[TradeFills]
    totals: SessionTotals
    filled: FillHash | None

    @classmethod
    def of(cls, record: OrderRecord, filled: FillHash | None) -> "_Planned":
        outcome, state = record.change.outcome, record.state
        assert len(outcome.fills) == len(record.own_bookings), "each fill is of one booking"
        return cls(
            record,
            group_by_trade(outcome, state.open_trade, state.open_quantity),
            totals_after(state.totals, outcome, record.session),
            filled.extended(outcome.fills) if filled is not None else None,
        )

    @property
    def session_id(self) -> UUID:
        return self.record.lease.session_id

    def move(self, entries: str) -> Move:
        record, totals = self.record, self.totals
        return Move(
            record.lease.user_id,
            record.lease.session_id,
            record.lease.epoch,
            entries,
            record.state.last_bar,
            record.change.bar or record.state.last_bar,
            record.change.snapshot,
            totals.total_trades,
            totals.winning_trades,
            totals.losing_trades,
            totals.total_pnl,
            totals.highest_equity,
            totals.max_drawdown,
            fills=len(record.change.outcome.fills),
            events=count_events(self.by_trade),
            fingerprint=self.filled.fingerprint if self.filled is not None else None,
        )

    def effects(self, after: Cursor, intent_ids: Mapping[str, UUID]) -> Effects:
        record = self.record
        origins = [
            FillOrigin(booking.execution.execution_id, intent_ids.get(booking.link_id or ""))
            for booking in record.own_bookings
        ]
        return Effects(
            record.session,
            record.strategy_name,
            record.change.outcome,
            self.by_trade,
            record.state.totals,
            after,
            late=False,
            origins=origins,
        )

    @property
    def state(self) -> OrderState:
        record, before = self.record, self.record.state
        left = before.open_quantity
        with exact():
            for fill in record.change.outcome.fills:
                left += fill.qty if fill.action == "open" else -fill.qty
        foreign = {each.execution.execution_id for each in record.change.bookings if each.effect == "foreign"}
        return OrderState(
            record.change.bar or before.last_bar,
            self.totals,
            open_trade_after(self.by_trade, before.open_trade),
            left,
            frozenset(foreign if record.change.thaws else before.foreign | foreign),
            record.change.ignored,
            record.refusal,
            self.filled if record.change.outcome.fills else before.filled,
        )


async def write_orders(connection: Connection, records: Sequence[OrderRecord]) -> Written:
    """Write a change of each of these sessions, in one statement per table.

    Nothing is written of a session that has no result: its lease is lost, its cursor is elsewhere, an execution is
    recorded already, or it records an entry although its lease allows none.
    """
    allowed = await leases.lock_allowed(connection, [record.lease for record in records])
    sound = await _without_recorded(connection, [each for each in records if _is_held(each, allowed)])
    if not sound:
        return Written({}, frozenset())
    planned = await _plan(connection, sound)
    cursors = await steps.move_sessions(connection, [each.move(allowed[each.session_id]) for each in planned])
    moved = [each for each in planned if each.session_id in cursors]
    admission = await _admit(connection, [each.record for each in moved])
    await _write_decisions(connection, [each.record for each in moved], admission)
    await _write_intents(connection, [each.record for each in moved], admission)
    intent_ids = await _find_intents(connection, [each.record for each in moved])
    await write_effects(connection, [each.effects(cursors[each.session_id], intent_ids) for each in moved])
    await _write_bookings(connection, moved, intent_ids)
    await _end_orders(connection, [each.record for each in moved])
    await _write_ignored(connection, [each.record for each in moved])
    await alarm_incidents(
        connection, [(each.record.lease, each.record.change.incidents, each.record.now) for each in moved]
    )
    refused = {link_id: refusal.code for link_id, refusal in admission.refused.items()}
    results = {
        each.session_id: OrderResult(
            each.state,
            {one.link_id: refused[one.link_id] for one in each.record.new_entries if one.link_id in refused},
        )
        for each in moved
    }
    return Written(results, frozenset(admission.breached))


def _is_held(record: OrderRecord, allowed: Mapping[UUID, str]) -> bool:
    entries = allowed.get(record.lease.session_id)
    return entries is not None and (entries == "ALLOWED" or not record.new_entries)


async def _without_recorded(connection: Connection, records: Sequence[OrderRecord]) -> list[OrderRecord]:
    """Return the records whose executions are new, or recorded as foreign and answered now."""
    wanted = [
        (record.lease.user_id, booking.execution.execution_id)
        for record in records
        for booking in record.change.bookings
    ]
    if not wanted:
        return list(records)
    recorded = await executions.find_recorded(connection, wanted)

    def is_new(record: OrderRecord, booking: Booking) -> bool:
        effects = recorded.get((record.lease.user_id, booking.execution.execution_id), frozenset())
        return not effects or (record.change.thaws and "foreign" in effects)

    return [each for each in records if all(is_new(each, booking) for booking in each.change.bookings)]


async def _plan(connection: Connection, records: Sequence[OrderRecord]) -> list[_Planned]:
    unknown = [each.lease for each in records if each.change.outcome.fills and each.state.filled is None]
    earlier = await steps.list_fills_of(connection, unknown) if unknown else {}
    planned = []
    for record in records:
        filled = record.state.filled
        if record.change.outcome.fills and filled is None:
            filled = FillHash().extended(earlier[record.lease.session_id])
        planned.append(_Planned.of(record, filled))
    return planned


async def _admit(connection: Connection, records: Sequence[OrderRecord]) -> Admission:
    new = [(record, intent) for record in records for intent in record.new_entries]
    if not new:
        return Admission()
    known = await intents.find_ids(connection, [(record.lease.user_id, intent.link_id) for record, intent in new])
    entries = [
        NewEntry(
            record.lease.user_id,
            record.lease.session_id,
            record.account_id,
            intent.link_id,
            intent.bar,
            intent.quantity,
            record.now,
            record.session.max_order_quantity,
        )
        for record, intent in new
        if intent.link_id not in known
    ]
    return await admit_entries(connection, entries)


async def _write_decisions(connection: Connection, records: Sequence[OrderRecord], admission: Admission) -> None:
    stepped = [each for each in records if each.change.bar is not None]
    if ended := [each for each in stepped if each.state.refusal not in (None, each.refusal)]:
        await decisions.end_refusals(
            connection,
            [each.lease.user_id for each in ended],
            [each.lease.session_id for each in ended],
            [each.state.last_bar for each in ended],
        )
    new = [
        _decision(record, decision, admission) for record in stepped for decision in record.change.outcome.decisions
    ]
    if new:
        await steps.insert_decisions(connection, new)


def _decision(record: OrderRecord, decision: Decision, admission: Admission) -> NewDecision:
    """Return the decision; an entry that a limit has refused as refused."""
    written = new_decision(record.session, decision)
    refused: list[EntryRefusal] = [
        admission.refused[intent.link_id] for intent in record.new_entries if intent.link_id in admission.refused
    ]
    if decision.kind != "entry" or decision.outcome != "pending" or not refused:
        return written
    refusal = refused[0]
    return written._replace(outcome="refused", refusal=refusal.code, allowed=refusal.allowed, asked=refusal.asked)


async def _write_intents(connection: Connection, records: Sequence[OrderRecord], admission: Admission) -> None:
    rows = [_intent(record, intent, admission) for record in records for intent in record.change.intents]
    if rows:
        await intents.upsert_intents(connection, rows)


def _intent(record: OrderRecord, intent: Intent, admission: Admission) -> IntentWrite:
    refusal = admission.refused.get(intent.link_id)
    if refusal is not None:
        intent = replace(intent, state=IntentState.DROPPED)
    return IntentWrite(
        record.lease.user_id,
        intent.intent_id,
        record.lease.session_id,
        record.account_id,
        record.session.symbol,
        intent.link_id,
        intent.bar,
        intent.leg,
        intent.attempt,
        intent.side,
        intent.quantity,
        intent.price,
        intent.stop_loss,
        intent.reduce_only,
        intent.reason,
        intent.strategy_hash,
        intent.epoch,
        intent.created_at,
        intent.state.value,
        intent.send_before,
        intent.sent_at,
        intent.order_id,
        intent.filled,
        intent.notional,
        intent.fee,
        intent.venue_code,
        intent.venue_message,
        refusal.code if refusal is not None else None,
        admission.prices.get(record.lease.session_id) if intent.is_entry else None,
        admission.periods.get(intent.link_id),
    )


async def _find_intents(connection: Connection, records: Sequence[OrderRecord]) -> Mapping[str, UUID]:
    """Return the ids of the intents whose orders were executed, by link id."""
    links = [
        (record.lease.user_id, booking.link_id)
        for record in records
        for booking in record.change.bookings
        if booking.link_id is not None
    ]
    return await intents.find_ids(connection, links) if links else {}


async def _write_bookings(
    connection: Connection, planned: Sequence[_Planned], intent_ids: Mapping[str, UUID]
) -> None:
    booked = [(each, booking) for each in planned for booking in each.record.change.bookings]
    if answered := _answered([each.record for each in planned]):
        await executions.answer_foreign(connection, answered)
    if rows := [_execution(each.record, one, intent_ids) for each, one in booked if one.effect != "funding"]:
        await executions.insert_executions(connection, rows)
    if payments := [_funding(each, one) for each, one in booked if one.effect == "funding"]:
        await executions.insert_funding(connection, payments)


def _answered(records: Sequence[OrderRecord]) -> Mapping[tuple[int, str], Decimal]:
    """Return the parts of earlier foreign executions that have another effect now, by tenant and id."""
    parts: dict[tuple[int, str], Decimal] = {}
    for record in records:
        for booking in record.change.bookings if record.change.thaws else ():
            key = (record.lease.user_id, booking.execution.execution_id)
            if key[1] in record.state.foreign:
                with exact():
                    parts[key] = parts.get(key, ZERO) + booking.part
    return parts


def _execution(record: OrderRecord, booking: Booking, intent_ids: Mapping[str, UUID]) -> NewExecution:
    execution = booking.execution
    return NewExecution(
        record.lease.user_id,
        execution.execution_id,
        booking.effect,
        record.lease.session_id,
        intent_ids.get(booking.link_id or ""),
        booking.part,
        booking.reason,
        execution.order_id,
        execution.link_id,
        execution.parent_link_id,
        execution.symbol,
        execution.side,
        execution.kind.value,
        execution.origin.value,
        execution.quantity,
        execution.price,
        execution.fee,
        execution.fee_coin,
        execution.closed_quantity,
        execution.time,
    )


def _funding(planned: _Planned, booking: Booking) -> NewFunding:
    record, execution = planned.record, booking.execution
    return NewFunding(
        record.lease.user_id,
        execution.execution_id,
        record.lease.session_id,
        record.account_id,
        planned.state.open_trade or record.state.open_trade,
        execution.symbol,
        execution.quantity,
        execution.price,
        execution.fee,
        execution.fee_coin,
        execution.time,
    )


async def _write_ignored(connection: Connection, records: Sequence[OrderRecord]) -> None:
    changed = [
        (each.lease.user_id, each.lease.session_id, each.change.ignored)
        for each in records
        if each.change.ignored != each.state.ignored
    ]
    if changed:
        await sessions.set_ignored_quantities(connection, changed)


async def _end_orders(connection: Connection, records: Sequence[OrderRecord]) -> None:
    """End the decisions whose orders are done, and give back what unfilled entries were counted as."""
    changed = [(record, intent) for record in records for intent in record.change.intents]
    if not changed:
        return
    await intents.end_decisions(
        connection,
        [
            (
                record.lease.user_id,
                intent.intent_id,
                intent.bar + timedelta(milliseconds=INTERVAL_MS[record.session.interval]),
            )
            for record, intent in changed
        ],
    )
    if done := [
        (record.lease.user_id, intent.intent_id)
        for record, intent in changed
        if intent.is_entry and intent.state.is_final and intent.filled == ZERO
    ]:
        await intents.count_out(connection, done)
