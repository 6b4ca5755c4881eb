"""The API's views of backtests and their results."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from services.trading.backtest_question import BacktestStatus
from services.trading.queries.backtest_results import BacktestFill, BacktestTrade
from services.trading.queries.backtests import BacktestRow, ResultRow
from shared.contracts.examples import BAR, example
from shared.contracts.types import Amount, Instant, Statistic, ViewModel
from shared.statistics import REALISED, WIN_RATE


class ProgressView(ViewModel):
    """Progress in bars; `percentage` is rounded down."""

    model_config = example(done=2976, total=2976, percentage=100)

    done: int
    total: int
    percentage: int


class MetricsView(ViewModel):
    """Statistics, and the fees of all trades, rounded to 6 places; null where undefined."""

    model_config = example(
        buy_and_hold_percentage=1.4859, average_bars=9.0, exposure_percentage=0.302419, fee="5.486216"
    )

    return_percentage: Statistic = Field(validation_alias="total_return_pct")
    buy_and_hold_percentage: Statistic = Field(validation_alias="buy_and_hold_pct")
    max_drawdown_percentage: Statistic = Field(validation_alias="max_drawdown_pct", description=REALISED)
    win_rate_percentage: Statistic = Field(validation_alias="win_rate_pct", description=WIN_RATE)
    profit_factor: Statistic
    expectancy: Statistic
    average_bars: Statistic = Field(validation_alias="avg_bars")
    exposure_percentage: Statistic = Field(validation_alias="exposure_pct")
    sharpe: Statistic
    sortino: Statistic
    calmar: Statistic
    fee: Amount | None


class ResultView(ViewModel):
    """`missing_bars` counts bars missing within the range. `first_decision_time` is the first bar at which the
    strategy could decide; null if there is none."""

    model_config = example(total_fills=2, missing_bars=0, first_decision_time=BAR)

    fingerprint: str
    final_equity: Amount
    total_fills: int
    total_trades: int
    missing_bars: int
    first_decision_time: Instant | None
    metrics: MetricsView
    calculated_at: Instant


class BacktestView(ViewModel):
    """`result` is set once the status is DONE, `reason` once it is FAILED."""

    model_config = example(status="DONE", reason=None, ended_at="2026-01-31T12:00:01.731Z")

    backtest_id: UUID
    strategy_id: UUID
    strategy_version: int
    strategy_hash: str
    symbol: str
    interval: str
    generation: int
    from_: Instant = Field(serialization_alias="from")
    to: Instant
    fee_rate: Amount
    slippage: Amount
    initial_balance: Amount
    status: BacktestStatus
    progress: ProgressView
    result: ResultView | None
    reason: str | None
    created_at: Instant
    started_at: Instant | None
    ended_at: Instant | None


class BacktestFillView(ViewModel):
    model_config = example(action="close", price="91350", fee="2.7633375", reason="signal")

    fill_number: int
    fill_time: Instant = Field(validation_alias="time")
    action: Literal["open", "close"]
    side: Literal["LONG", "SHORT"]
    quantity: Amount = Field(validation_alias="qty")
    price: Amount
    fee: Amount
    reason: str


class BacktestTradeView(ViewModel):
    """`pnl` is net of `fee`, the fees of all its fills; `reason` is that of the fill that closed it; `bars` counts
    the closes while it was open."""

    model_config = example(reason="signal", bars=9)

    trade_number: int
    side: Literal["LONG", "SHORT"]
    entry_time: Instant
    exit_time: Instant
    entry_price: Amount
    exit_price: Amount
    quantity: Amount
    gross_pnl: Amount
    fee: Amount
    pnl: Amount
    pnl_percentage: Statistic
    reason: str
    bars: int


def backtest_view(row: BacktestRow) -> BacktestView:
    return BacktestView(
        backtest_id=row.backtest_id,
        strategy_id=row.strategy_id,
        strategy_version=row.strategy_version,
        strategy_hash=row.strategy_hash,
        symbol=row.symbol,
        interval=row.interval,
        generation=row.generation,
        from_=row.from_time,
        to=row.to_time,
        fee_rate=row.terms.fee,
        slippage=row.terms.slippage,
        initial_balance=row.terms.initial_balance,
        status=row.status,
        progress=ProgressView(done=row.done, total=row.bars, percentage=100 * row.done // row.bars),
        result=None if row.result is None else _result_view(row.result),
        reason=row.failure_reason,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _result_view(result: ResultRow) -> ResultView:
    return ResultView(
        fingerprint=result.fingerprint,
        final_equity=result.final_equity,
        total_fills=result.fills,
        total_trades=result.trades,
        missing_bars=result.missing_bars,
        first_decision_time=result.first_decision,
        metrics=_metrics_view(result.metrics),
        calculated_at=result.created_at,
    )


def _metrics_view(metrics: Mapping[str, float | None]) -> MetricsView:
    fees = metrics["fees"]
    return MetricsView.model_validate({**metrics, "fee": None if fees is None else Decimal(str(fees))})


def fill_view(row: BacktestFill) -> BacktestFillView:
    return BacktestFillView.model_validate(row)


def trade_view(row: BacktestTrade) -> BacktestTradeView:
    return BacktestTradeView.model_validate(row)
