"""Write the outcomes of sessions' steps: decisions, fills, trades, and their events."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from services.trading.domain import SessionTotals
from services.trading.queries import decisions, steps, strategies, trades
from services.trading.queries.sessions import SessionLease, SessionRow
from services.trading.queries.steps import Cursor, Move, NewDecision, NewFill, NewTrade, TradeChange
from services.trading.queries.strategies import ClosedTrades
from services.trading.queries.trades import refusal_code
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of
from shared.contracts.envelope import Event
from shared.contracts.trading import TradeClosed, TradeOpened
from shared.contracts.types import from_ms, new_id
from shared.strategy.decimals import ZERO, exact
from shared.strategy.execution.fingerprint import FillHash
from shared.strategy.execution.outcome import Decision, Fill, StepOutcome, Trade


@dataclass(frozen=True)
class TradeFills:
    """The fills of one trade within one step; `trade` is set if they close it."""

    trade_id: UUID
    fills: Sequence[Fill]
    opens: bool
    trade: Trade | None


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
class Effects:
    """What a step or a stop has brought about, once its session's row is updated; `before` are the totals until
    then, `after` the counters since."""

    session: SessionRow
    strategy_name: str
    outcome: StepOutcome
    by_trade: Sequence[TradeFills]
    before: SessionTotals
    after: Cursor
    late: bool


async def write_steps(connection: Connection, records: Sequence[StepRecord]) -> dict[UUID, StepResult]:
    """Write a step of each of these sessions, in one statement per table. Returns the results by session.

    Nothing is written of a session whose lease, cursor or allowed entries have changed, and it has no result: the
    worker has to read it again.
    """
    fills = await _hash_fills(connection, records)
    by_trade = {record.session.session_id: group_by_trade(record.outcome, record.open_trade) for record in records}
    totals = {
        record.session.session_id: totals_after(record.totals, record.outcome, record.session) for record in records
    }
    moves = [_move(record, by_trade, totals, fills) for record in records]
    cursors = await steps.move_sessions(connection, moves)
    moved = [record for record in records if record.session.session_id in cursors]
    await _write_decisions(connection, moved)
    await _write(
        connection,
        [
            Effects(
                record.session,
                record.strategy_name,
                record.outcome,
                by_trade[record.session.session_id],
                record.totals,
                cursors[record.session.session_id],
                record.late,
            )
            for record in moved
        ],
    )
    await _end_orders(connection, moved)
    return {
        session_id: StepResult(
            open_trade_after(by_trade[session_id], record.open_trade), totals[session_id], fills.get(session_id)
        )
        for record in moved
        for session_id in (record.session.session_id,)
    }


async def _hash_fills(connection: Connection, records: Sequence[StepRecord]) -> dict[UUID, FillHash | None]:
    """Return the hash of each session's fills with the step's. Reads earlier ones if their hash is unknown and the
    step has fills."""
    unknown = [record.lease for record in records if record.outcome.fills and record.filled is None]
    earlier = await steps.list_fills_of(connection, unknown) if unknown else {}
    hashed: dict[UUID, FillHash | None] = {}
    for record in records:
        session_id, filled = record.session.session_id, record.filled
        if record.outcome.fills:
            filled = filled if filled is not None else FillHash().extended(earlier[session_id])
            filled = filled.extended(record.outcome.fills)
        hashed[session_id] = filled
    return hashed


def _move(
    record: StepRecord,
    by_trade: Mapping[UUID, Sequence[TradeFills]],
    totals: Mapping[UUID, SessionTotals],
    fills: Mapping[UUID, FillHash | None],
) -> Move:
    lease, session_id = record.lease, record.session.session_id
    filled = fills[session_id]
    return Move(
        lease.user_id,
        session_id,
        lease.epoch,
        lease.entries,
        record.expected_bar,
        record.last_bar,
        record.snapshot,
        *astuple(totals[session_id]),
        fills=len(record.outcome.fills),
        events=_count_events(by_trade[session_id]),
        fingerprint=filled.fingerprint if filled is not None and record.outcome.fills else None,
    )


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
    events = _count_events(by_trade)
    cursor = await trades.update_totals(
        connection, session.user_id, session.session_id, totals, len(outcome.fills), events + more_events
    )
    before_more = Cursor(cursor.fill_count, cursor.event_seq - more_events)
    effects = Effects(session, strategy_name, outcome, by_trade, session.totals, before_more, late=False)
    await _write(connection, [effects])
    return totals, cursor.event_seq


def last_opened_bar(snapshot: Mapping[str, object]) -> datetime | None:
    """Return the last bar whose open the session has processed."""
    opened_ms = cast("int | None", snapshot.get("opened_ms"))
    return from_ms(opened_ms) if opened_ms is not None else None


def group_by_trade(outcome: StepOutcome, open_trade: UUID | None) -> list[TradeFills]:
    """Group the step's fills by trade: the one that was open before, and each that opens in this step."""
    groups: list[list[Fill]] = []
    for fill in outcome.fills:
        if fill.action == "open" or not groups:
            groups.append([])
        groups[-1].append(fill)
    by_trade = []
    for number, fills in enumerate(groups):
        opens = fills[0].action == "open"
        trade_id = new_id() if opens else open_trade
        assert trade_id is not None, "a close without an open trade"
        ended = outcome.trades[number] if number < len(outcome.trades) else None
        by_trade.append(TradeFills(trade_id, fills, opens, ended))
    return by_trade


def open_trade_after(by_trade: Sequence[TradeFills], before: UUID | None) -> UUID | None:
    """Return the trade that is open after the step."""
    if not by_trade:
        return before
    return None if by_trade[-1].trade is not None else by_trade[-1].trade_id


def _count_events(by_trade: Sequence[TradeFills]) -> int:
    return sum(each.opens + (each.trade is not None) for each in by_trade)


def totals_after(totals: SessionTotals, outcome: StepOutcome, session: SessionRow) -> SessionTotals:
    for trade in outcome.trades:
        totals = totals.with_trade(trade.pnl, session.initial_balance)
    return totals


async def _write(connection: Connection, effects: Sequence[Effects]) -> None:
    """Write trades, fills, statistics and events: each in one statement, if there are any."""
    late_trades: set[UUID] = set()
    if changed := [_change(each, trade) for each in effects for trade in each.by_trade if not trade.opens]:
        late_trades = await steps.change_trades(connection, changed)
    if opened := [_new_trade(each, trade) for each in effects for trade in each.by_trade if trade.opens]:
        late_trades |= {trade.trade_id for trade in opened if trade.late}
        await steps.insert_trades(connection, opened)
    if fills := [fill for each in effects for fill in _new_fills(each)]:
        await steps.insert_fills(connection, fills)
    if closed := _closed_trades(effects):
        await strategies.add_to_statistics(connection, closed)
    await emit(connection, *(event for each in effects for event in _events(each, late_trades)))


def _change(effects: Effects, trade: TradeFills) -> TradeChange:
    with exact():
        closed = sum((fill.qty for fill in trade.fills if fill.action == "close"), ZERO)
        fee = sum((fill.fee for fill in trade.fills), ZERO)
    ended = trade.trade
    result = (None,) * 6
    if ended is not None:
        exit_time = from_ms(ended.exit_time)
        result = (exit_time, ended.exit_price, ended.gross, ended.pnl, ended.pnl_percentage, ended.reason)
    status = "OPEN" if ended is None else "CLOSED"
    return TradeChange(effects.session.user_id, trade.trade_id, status, closed, fee, effects.late, *result)


def _new_trade(effects: Effects, trade: TradeFills) -> NewTrade:
    session, entry = effects.session, trade.fills[0]
    return NewTrade(
        *_change(effects, trade),
        session_id=session.session_id,
        strategy_id=session.strategy_id,
        strategy_hash=session.strategy_hash,
        symbol=session.symbol,
        side=entry.side,
        entry_time=from_ms(entry.time_ms),
        entry_price=entry.price,
        quantity=entry.qty,
        is_paper_trade=session.is_paper_trading,
    )


def _new_fills(effects: Effects) -> list[NewFill]:
    session, late = effects.session, effects.late
    number = effects.after.fill_count - len(effects.outcome.fills)
    equity = effects.before.equity(session.initial_balance)
    rows = []
    for each in effects.by_trade:
        if each.trade is not None:
            with exact():
                equity += each.trade.pnl
        for fill in each.fills:
            number += 1
            time_ms, *rest = fill
            ends = each.trade is not None and fill is each.fills[-1]
            rows.append(
                NewFill(
                    session.user_id,
                    session.session_id,
                    number,
                    each.trade_id,
                    from_ms(time_ms),
                    *rest,
                    late=late,
                    equity=equity if ends else None,
                )
            )
    return rows


def _closed_trades(effects: Sequence[Effects]) -> list[ClosedTrades]:
    """Sum up the closed trades of each strategy."""
    pnls: dict[tuple[int, UUID], list[Decimal]] = {}
    for each in effects:
        of_strategy = pnls.setdefault((each.session.user_id, each.session.strategy_id), [])
        of_strategy += [trade.pnl for trade in each.outcome.trades]
    with exact():
        return [
            ClosedTrades(*strategy, len(closed), sum(pnl > 0 for pnl in closed), sum(closed, ZERO))
            for strategy, closed in pnls.items()
            if closed
        ]


def _events(effects: Effects, late_trades: Collection[UUID]) -> list[Event]:
    """Build the session's events in the order in which they happened, numbered up to its last number."""
    session, by_trade = effects.session, effects.by_trade
    seq = effects.after.event_seq - _count_events(by_trade)
    events: list[Event] = []
    for each in by_trade:
        common = {
            "user_id": session.user_id,
            "public_id": session.public_id,
            "aggregate": f"session:{session.session_id}",
            "trade_id": each.trade_id,
            "session_id": session.session_id,
            "symbol": session.symbol,
            "strategy_id": session.strategy_id,
            "strategy_hash": session.strategy_hash,
            "is_paper_trade": session.is_paper_trading,
        }
        if each.opens:
            seq += 1
            fill = each.fills[0]
            opened = {"side": fill.side, "entry_time": from_ms(fill.time_ms), "entry_price": fill.price}
            events.append(
                TradeOpened.model_validate(
                    {**common, **opened, "aggregate_seq": seq, "quantity": fill.qty, "late": effects.late}
                )
            )
        if each.trade is not None:
            seq += 1
            closed = {**_closed(each.trade, effects.strategy_name), "late": each.trade_id in late_trades}
            events.append(TradeClosed.model_validate({**common, **closed, "aggregate_seq": seq}))
    return events


def _closed(trade: Trade, strategy_name: str) -> dict[str, object]:
    return {
        "side": trade.side,
        "entry_time": from_ms(trade.entry_time),
        "exit_time": from_ms(trade.exit_time),
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "quantity": trade.qty,
        "pnl": trade.pnl,
        "pnl_percentage": trade.pnl_percentage,
        "fee": trade.fees,
        "reason": trade.reason,
        "strategy_name": strategy_name,
    }
