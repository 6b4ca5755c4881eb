"""How fills, trades and decisions are shown."""

from dataclasses import asdict
from typing import Literal
from uuid import UUID

from services.trading.queries.trades import DecisionRow, FillRow, TradeRow
from shared.contracts.types import Amount, Instant, ViewModel


class FillView(ViewModel):
    fill_number: int
    trade_id: UUID
    decision_id: UUID | None
    time: Instant
    action: Literal["open", "close"]
    side: Literal["LONG", "SHORT"]
    qty: Amount
    price: Amount
    fee: Amount
    reason: str
    late: bool
    created_at: Instant


class TradeView(ViewModel):
    """`pnl` is net of `fee`, the fees of all its fills."""

    trade_id: UUID
    session_id: UUID
    strategy_id: UUID
    strategy_hash: str
    symbol: str
    side: Literal["LONG", "SHORT"]
    status: Literal["OPEN", "CLOSED", "CANCELLED"]
    entry_time: Instant
    exit_time: Instant | None
    entry_price: Amount
    exit_price: Amount | None
    quantity: Amount
    gross_pnl: Amount | None
    pnl: Amount | None
    fee: Amount
    pnl_percentage: Amount | None
    strategy_signal: str | None
    is_paper_trade: bool
    late: bool
    created_at: Instant


class DecisionView(ViewModel):
    """`values` are the indicators at the decision bar, `checks` the conditions; null where undefined."""

    decision_id: UUID
    session_id: UUID
    time: Instant
    kind: Literal["entry", "exit"]
    side: Literal["LONG", "SHORT"]
    reason: str
    qty: Amount | None
    outcome: str
    refusal: str | None
    values: dict[str, float | None]
    checks: dict[str, bool | None]
    strategy_hash: str
    created_at: Instant


def fill_view(row: FillRow) -> FillView:
    return FillView.model_validate(asdict(row))


def trade_view(row: TradeRow) -> TradeView:
    return TradeView.model_validate(asdict(row))


def decision_view(row: DecisionRow) -> DecisionView:
    return DecisionView.model_validate(asdict(row))
