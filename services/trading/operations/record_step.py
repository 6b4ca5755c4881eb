"""Write the outcome of one step of a session: decisions, fills, trades, and their events."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from services.trading.domain import SessionTotals
from services.trading.queries import decisions, strategies, trades
from services.trading.queries.sessions import SessionLease, SessionRow
from services.trading.queries.strategies import ClosedTrades
from services.trading.queries.trades import Cursor
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.envelope import Event
from shared.contracts.trading import TradeClosed, TradeOpened
from shared.contracts.types import from_ms, new_id
from shared.strategy.decimals import exact
from shared.strategy.execution.fingerprint import FillHash
from shared.strategy.execution.outcome import Fill, StepOutcome, Trade


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


async def write_step(connection: Connection, step: StepRecord) -> StepResult | None:
    """Write the step as one transaction.

    Returns None, and writes nothing, if the lease, the session's cursor or the allowed entries have changed: the
    worker has to read the session again.
    """
    by_trade = group_by_trade(step.outcome, step.open_trade)
    totals = totals_after(step.totals, step.outcome, step.session)
    events = _count_events(by_trade)
    filled, fingerprint = step.filled, None
    if step.outcome.fills:
        filled = await _hash_fills(connection, step)
        fingerprint = filled.fingerprint
    cursor = await trades.move_session(
        connection,
        step.lease,
        expected_bar=step.expected_bar,
        last_bar=step.last_bar,
        snapshot=step.snapshot,
        totals=totals,
        fills=len(step.outcome.fills),
        fingerprint=fingerprint,
        events=events,
        decisions=step.outcome.decisions,
    )
    if cursor is None:
        return None
    if step.ends_refusal:
        session = step.session
        await decisions.end_refusals(connection, [session.user_id], [session.session_id], [step.expected_bar])
    await _write(
        connection,
        step.session,
        step.strategy_name,
        step.outcome,
        by_trade,
        step.totals,
        cursor,
        late=step.late,
    )
    if (step.outcome.fills or step.outcome.dropped) and (opened := last_opened_bar(step.snapshot)) is not None:
        await decisions.end_orders(connection, step.session.user_id, step.session.session_id, opened)
    return StepResult(open_trade_after(by_trade, step.open_trade), totals, filled)


async def _hash_fills(connection: Connection, step: StepRecord) -> FillHash:
    """Return the hash of the session's fills with the step's. Reads the earlier ones if their hash is unknown."""
    filled = step.filled
    if filled is None:
        filled = FillHash().extended(
            await trades.list_session_fills(connection, step.session.user_id, step.session.session_id)
        )
    return filled.extended(step.outcome.fills)


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
    await _write(connection, session, strategy_name, outcome, by_trade, session.totals, before_more, late=False)
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


async def _write(
    connection: Connection,
    session: SessionRow,
    strategy_name: str,
    outcome: StepOutcome,
    by_trade: Sequence[TradeFills],
    before: SessionTotals,
    after: Cursor,
    *,
    late: bool,
) -> None:
    user_id, session_id = session.user_id, session.session_id
    number = after.fill_count - len(outcome.fills)
    equity = before.equity(session.initial_balance)
    late_trades: set[UUID] = set()
    for each in by_trade:
        if each.opens:
            await trades.insert_open_trade(
                connection,
                user_id,
                session_id,
                each.trade_id,
                each.fills[0],
                strategy_id=session.strategy_id,
                strategy_hash=session.strategy_hash,
                symbol=session.symbol,
                is_paper=session.is_paper_trading,
                late=late,
            )
        if each.trade is not None:
            equity += each.trade.pnl
        for fill in each.fills:
            number += 1
            ends = each.trade is not None and fill is each.fills[-1]
            await trades.insert_fill(
                connection,
                user_id,
                session_id,
                number,
                each.trade_id,
                fill,
                late=late,
                equity=equity if ends else None,
            )
        if await trades.sum_fills(connection, user_id, each.trade_id):
            late_trades.add(each.trade_id)
        if each.trade is not None:
            await trades.close_trade(connection, user_id, each.trade_id, each.trade)
    if outcome.trades:
        await strategies.add_to_statistics(connection, user_id, session.strategy_id, _closed_trades(outcome))
    events = _events(session, strategy_name, by_trade, after.event_seq, late_trades, late=late)
    await emit(connection, *events)


def _closed_trades(outcome: StepOutcome) -> ClosedTrades:
    pnls = [trade.pnl for trade in outcome.trades]
    with exact():
        return ClosedTrades(len(pnls), sum(pnl > 0 for pnl in pnls), sum(pnls, Decimal(0)))


def _events(
    session: SessionRow,
    strategy_name: str,
    by_trade: Sequence[TradeFills],
    last_seq: int,
    late_trades: Collection[UUID],
    *,
    late: bool,
) -> list[Event]:
    """Build the events in the order in which they happened, numbered up to `last_seq`."""
    seq = last_seq - _count_events(by_trade)
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
                    {**common, **opened, "aggregate_seq": seq, "quantity": fill.qty, "late": late}
                )
            )
        if each.trade is not None:
            seq += 1
            closed = {**_closed(each.trade, strategy_name), "late": each.trade_id in late_trades}
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
