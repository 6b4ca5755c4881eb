"""The API's views of fills, trades and decisions, which refer to each other by id."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from pydantic.config import JsonDict

from services.trading.operations.explain_decision import Explanation
from services.trading.queries.decisions import DecisionRow
from services.trading.queries.fills import FillRow
from services.trading.queries.trades import TradeRow
from shared.contracts.examples import BAR, example
from shared.contracts.types import Amount, Instant, Statistic, ViewModel

DecisionOutcome = Literal["pending", "filled", "dropped", "stale", "refused"]
RefusalCode = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,60}$")]
DECISION: JsonDict = {
    "bar_time": BAR,
    "kind": "entry",
    "reason": "entry",
    "outcome": "filled",
    "refusal": None,
    "until_time": BAR,
    "values": {"fast": 89961.4, "slow": 89944.7},
    "checks": {"entry": True, "exit": False},
    "created_at": "2026-01-31T09:30:00.412Z",
}


class FillView(ViewModel):
    """`equity` is the session's equity after a fill that closes a trade, else null."""

    model_config = example(action="close", price="91350", fee="2.7633375", reason="signal")

    fill_id: UUID
    session_id: UUID
    fill_number: int
    trade_id: UUID
    decision_id: UUID | None
    fill_time: Instant = Field(validation_alias="time")
    action: Literal["open", "close"]
    side: Literal["LONG", "SHORT"]
    quantity: Amount = Field(validation_alias="qty")
    price: Amount
    fee: Amount
    reason: str
    late: bool
    equity: Amount | None
    created_at: Instant


class TradeView(ViewModel):
    """`pnl` is net of `fee`, the fees of its fills so far; `late` is true if any fill was late. `reason` is that of
    the fill that closed it, null before. `decision_ids` are the decisions of its fills. `funding`, paid if
    positive, is not part of `pnl`."""

    model_config = example(status="CLOSED", remaining_quantity="0", reason="signal", funding="0")

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
    funding: Amount
    pnl_percentage: Statistic
    reason: str | None = Field(validation_alias="strategy_signal")
    mode: Literal["PAPER", "LIVE"]
    late: bool
    notes: str | None
    decision_ids: Sequence[UUID]
    created_at: Instant
    updated_at: Instant


class DecisionView(ViewModel):
    """`bar_time` is that of the decision bar. `values` are the indicators there, `checks` the conditions and
    limits; null where undefined. `fill_ids` and `trade_id` are the resulting fills and trade.

    An order is `pending` until the next bar's open, where it becomes `filled` or `dropped`; `stale` is an order
    that was too late to be sent. When an entry is `refused` at consecutive closes for the same reason, only the
    first is stored. `until_time` is the bar at whose open the order ended, or the last bar of those closes; null
    until then.
    """

    model_config = example(**DECISION)

    decision_id: UUID
    session_id: UUID
    bar_time: Instant = Field(validation_alias="time")
    kind: Literal["entry", "exit"]
    side: Literal["LONG", "SHORT"]
    reason: str
    quantity: Amount | None = Field(validation_alias="qty")
    outcome: DecisionOutcome
    refusal: str | None
    until_time: Instant | None = Field(validation_alias="until")
    values: dict[str, float | None]
    checks: dict[str, bool | None]
    strategy_hash: str
    fill_ids: Sequence[UUID]
    trade_id: UUID | None
    created_at: Instant


class RefusedByView(ViewModel):
    """The limit that an entry would have exceeded, the allowed and the requested amount. The restriction applied
    from the bar after `after_bar_time` on."""

    model_config = example(limit_name="max_position_size", allowed="2500", asked="4950.6875", plan=None)

    limit_name: str = Field(validation_alias="limit")
    allowed: Amount | None
    asked: Amount | None
    plan: str | None
    after_bar_time: Instant | None = Field(validation_alias="after_bar")


class ExplainedView(DecisionView):
    """A decision with the strategy's version. `filled_at` is when the first of its fills was stored."""

    model_config = example(**DECISION)

    strategy_id: UUID
    strategy_version: int
    symbol: str
    interval: str
    refused_by: RefusedByView | None
    filled_at: Instant | None
    fills: Sequence[FillView]


def fill_view(row: FillRow) -> FillView:
    return FillView.model_validate(row)


def trade_view(row: TradeRow) -> TradeView:
    return TradeView.model_validate({**asdict(row), "mode": "PAPER" if row.is_paper_trade else "LIVE"})


def decision_view(row: DecisionRow) -> DecisionView:
    return DecisionView.model_validate(asdict(row))


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
        filled_at=fills[0].created_at if fills else None,
        fills=[fill_view(fill) for fill in fills],
    )
