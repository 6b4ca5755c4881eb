"""The API's views of fills, trades and decisions, which refer to each other by id."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal
from uuid import UUID

from pydantic.config import JsonDict

from services.trading.operations.explain_decision import Explanation
from services.trading.queries.decisions import DecisionRow
from services.trading.queries.fills import FillRow
from services.trading.queries.trades import TradeRow
from shared.contracts.examples import BAR, example
from shared.contracts.types import Amount, Instant, ViewModel

# `too_small` is a refusal because of the exchange's minimum order.
DecisionOutcome = Literal["pending", "filled", "dropped", "stale", "refused", "too_small"]
DECISION: JsonDict = {
    "time": BAR,
    "kind": "entry",
    "reason": "entry",
    "outcome": "filled",
    "refusal": None,
    "until": BAR,
    "values": {"fast": 89961.4, "slow": 89944.7},
    "checks": {"entry": True, "exit": False},
    "created_at": "2026-01-31T09:30:00.412Z",
}


class FillView(ViewModel):
    """`equity` is the session's equity after a fill that closes a trade, else null."""

    model_config = example(action="close", price="91350", fee="2.7633375", reason="exit_signal")

    fill_id: UUID
    session_id: UUID
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
    equity: Amount | None
    created_at: Instant


class TradeView(ViewModel):
    """`pnl` is net of `fee`, the fees of its fills so far; `late` is true if any fill was late. `decision_ids` are
    the decisions of its fills."""

    model_config = example(status="CLOSED", remaining_quantity="0")

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
    remaining_quantity: Amount
    gross_pnl: Amount | None
    pnl: Amount | None
    fee: Amount
    pnl_percentage: Amount | None
    strategy_signal: str | None
    is_paper_trade: bool
    late: bool
    notes: str | None
    decision_ids: Sequence[UUID]
    created_at: Instant
    updated_at: Instant


class DecisionView(ViewModel):
    """`time` is that of the decision bar. `values` are the indicators there, `checks` the conditions and limits;
    null where undefined. `fill_ids` and `trade_id` are the resulting fills and trade.

    An order is `pending` until the next bar's open, where it becomes `filled` or `dropped`; `stale` is an order
    that was too late to be sent. When an entry is `refused` at consecutive closes for the same reason, only the
    first is stored. `until` is the bar at whose open the order ended, or the last bar of those closes; null until
    then.
    """

    model_config = example(**DECISION)

    decision_id: UUID
    session_id: UUID
    time: Instant
    kind: Literal["entry", "exit"]
    side: Literal["LONG", "SHORT"]
    reason: str
    qty: Amount | None
    outcome: Literal["pending", "filled", "dropped", "stale", "refused"]
    refusal: str | None
    until: Instant | None
    values: dict[str, float | None]
    checks: dict[str, bool | None]
    strategy_hash: str
    fill_ids: Sequence[UUID]
    trade_id: UUID | None
    created_at: Instant


class RefusedByView(ViewModel):
    """The limit that an entry would have exceeded, the allowed and the requested amount. The restriction applied
    from the bar after `after_bar` on."""

    model_config = example(limit="max_position_size", allowed="2500", asked="4950.6875", plan=None)

    limit: str
    allowed: Amount | None
    asked: Amount | None
    plan: str | None
    after_bar: Instant | None


class ExplainedView(DecisionView):
    """A decision with the strategy's version, and the times of the bar, of the decision and of the first fill."""

    model_config = example(**DECISION)

    strategy_id: UUID
    strategy_version: int
    symbol: str
    interval: str
    refused_by: RefusedByView | None
    bar_time: Instant
    decided_at: Instant
    filled_at: Instant | None
    fills: Sequence[FillView]


def fill_view(row: FillRow) -> FillView:
    return FillView.model_validate(row)


def trade_view(row: TradeRow) -> TradeView:
    return TradeView.model_validate(row)


def decision_view(row: DecisionRow) -> DecisionView:
    values = asdict(row)
    return DecisionView.model_validate({name: values[name] for name in DecisionView.model_fields})


def explained_view(explanation: Explanation) -> ExplainedView:
    decision, session, fills = explanation.decision, explanation.session, explanation.fills
    refused = explanation.refused_by
    return ExplainedView(
        **decision_view(decision).model_dump(),
        strategy_id=session.strategy_id,
        strategy_version=session.strategy_version,
        symbol=session.symbol,
        interval=session.interval,
        refused_by=RefusedByView.model_validate(refused) if refused else None,
        bar_time=decision.time,
        decided_at=decision.created_at,
        filled_at=fills[0].created_at if fills else None,
        fills=[fill_view(fill) for fill in fills],
    )
