"""Write the effects of steps and stops: trades, fills, statistics, and their events."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.trading.domain import SessionTotals
from services.trading.queries import steps, strategies
from services.trading.queries.sessions import SessionRow
from services.trading.queries.steps import Cursor, NewFill, NewTrade, TradeChange
from services.trading.queries.strategies import ClosedTrades
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.envelope import Event
from shared.contracts.trading import TradeClosed, TradeOpened
from shared.contracts.types import from_ms, new_id
from shared.strategy.decimals import ZERO, exact, quantised_quotient
from shared.strategy.execution.outcome import Fill, StepOutcome, Trade


@dataclass(frozen=True)
class TradeFills:
    """The fills of one trade within one step; `trade` is set if they close it."""

    trade_id: UUID
    fills: Sequence[Fill]
    opens: bool
    trade: Trade | None

    @property
    def entry(self) -> Fill:
        """The opening fill; of several, the first with their quantity and average price."""
        first, *more = (fill for fill in self.fills if fill.action == "open")
        if not more:
            return first
        with exact():
            qty = sum((fill.qty for fill in more), first.qty)
            notional = sum((fill.qty * fill.price for fill in more), first.qty * first.price)
            return first._replace(qty=qty, price=quantised_quotient(notional, qty))

    @property
    def enlarges(self) -> bool:
        """True if it is filled in parts: its entry is more than the first fill."""
        return sum(fill.action == "open" for fill in self.fills) > self.opens


class FillOrigin(NamedTuple):
    """The origin of a live session's fill: the execution, and the intent whose order was filled."""

    execution_id: str
    intent_id: UUID | None


@dataclass(frozen=True)
class Effects:
    """The outcome of a step or a stop whose session row is updated. `before` are the totals until then, `after` the
    counters since. `origins` are those of a live session's fills, in their order."""

    session: SessionRow
    strategy_name: str
    outcome: StepOutcome
    by_trade: Sequence[TradeFills]
    before: SessionTotals
    after: Cursor
    late: bool
    origins: Sequence[FillOrigin] = ()


async def write_effects(connection: Connection, effects: Sequence[Effects]) -> None:
    """Write trades, fills, statistics and events: each in one statement, if there are any."""
    late_trades: set[UUID] = set()
    if changed := [_change(each, trade) for each in effects for trade in each.by_trade if not trade.opens]:
        late_trades = await steps.change_trades(connection, changed)
    if opened := [_new_trade(each, trade) for each in effects for trade in each.by_trade if trade.opens]:
        late_trades |= {trade.trade_id for trade in opened if trade.late}
        await steps.insert_trades(connection, opened)
    if fills := [fill for each in effects for fill in _new_fills(each)]:
        await steps.insert_fills(connection, fills)
    if parts := [
        (each.session.user_id, trade.trade_id) for each in effects for trade in each.by_trade if trade.enlarges
    ]:
        await steps.average_entries(connection, parts)
    if closed := _closed_trades(effects):
        await strategies.add_to_statistics(connection, closed)
    await emit(connection, *(event for each in effects for event in _events(each, late_trades)))


def _change(effects: Effects, trade: TradeFills) -> TradeChange:
    with exact():
        closed = sum((fill.qty for fill in trade.fills if fill.action == "close"), ZERO)
        fee = sum((fill.fee for fill in trade.fills), ZERO)
    ended = trade.trade
    return TradeChange(
        effects.session.user_id,
        trade.trade_id,
        "OPEN" if ended is None else "CLOSED",
        closed,
        fee,
        effects.late,
        exit_time=from_ms(ended.exit_time) if ended else None,
        exit_price=ended.exit_price if ended else None,
        gross_pnl=ended.gross if ended else None,
        pnl=ended.pnl if ended else None,
        pnl_percentage=ended.pnl_percentage if ended else None,
        strategy_signal=ended.reason if ended else None,
    )


def _new_trade(effects: Effects, trade: TradeFills) -> NewTrade:
    session, entry = effects.session, trade.entry
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
    rows: list[NewFill] = []
    for each in effects.by_trade:
        if each.trade is not None:
            with exact():
                equity += each.trade.pnl
        for fill in each.fills:
            number += 1
            origin = effects.origins[len(rows)] if effects.origins else (None, None)
            ends = each.trade is not None and fill is each.fills[-1]
            rows.append(
                NewFill(
                    session.user_id,
                    session.session_id,
                    number,
                    each.trade_id,
                    from_ms(fill.time_ms),
                    fill.action,
                    fill.side,
                    fill.qty,
                    fill.price,
                    fill.fee,
                    fill.reason,
                    late,
                    equity if ends else None,
                    *origin,
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
    seq = effects.after.event_seq - count_events(by_trade)
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
            fill = each.entry
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


def group_by_trade(
    outcome: StepOutcome, open_trade: UUID | None, open_quantity: Decimal | None = None
) -> list[TradeFills]:
    """Group the step's fills by trade: the one that was open before, and each that opens in this step.

    With `open_quantity`, what is left of the open trade, entries may be filled in parts: a trade ends when nothing
    is left. Without it, each opening fill begins a trade.
    """
    groups: list[list[Fill]] = []
    left = open_quantity if open_quantity is not None else ZERO
    for fill in outcome.fills:
        begins = fill.action == "open" and (open_quantity is None or left == ZERO)
        if begins or not groups:
            groups.append([])
        groups[-1].append(fill)
        with exact():
            left += fill.qty if fill.action == "open" else -fill.qty
    by_trade = []
    for number, fills in enumerate(groups):
        opens = fills[0].action == "open" and (number > 0 or open_trade is None)
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


def count_events(by_trade: Sequence[TradeFills]) -> int:
    return sum(each.opens + (each.trade is not None) for each in by_trade)
