"""The API's views of backtests and their results."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from services.trading.backtest_question import BacktestStatus
from services.trading.queries.backtest_results import BacktestFill, BacktestTrade
from services.trading.queries.backtests import BacktestRow, ResultRow
from shared.contracts.examples import BAR, example
from shared.contracts.types import Amount, Instant, ViewModel


class ProgressView(ViewModel):
    """Progress in bars; `percent` is rounded down."""

    model_config = example(done=2976, total=2976, percent=100)

    done: int
    total: int
    percent: int


class MetricsView(ViewModel):
    """Statistics, rounded to 6 places; null where undefined."""

    model_config = example(
        total_return_pct=0.680763, buy_and_hold_pct=1.4859, avg_bars=9.0, exposure_pct=0.302419, fees=5.486216
    )

    total_return_pct: float | None
    buy_and_hold_pct: float | None
    max_drawdown_pct: float | None
    win_rate_pct: float | None
    profit_factor: float | None
    expectancy: float | None
    avg_bars: float | None
    exposure_pct: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    fees: float | None


class ResultView(ViewModel):
    """`missing_bars` counts bars missing within the range. `first_decision` is the first bar at which the strategy
    could decide; null if there is none."""

    model_config = example(fills=2, missing_bars=0, first_decision=BAR)

    fingerprint: str
    final_equity: Amount
    fills: int
    trades: int
    missing_bars: int
    first_decision: Instant | None
    metrics: MetricsView
    calculated_at: Instant


class BacktestView(ViewModel):
    """`result` is set once the status is DONE, `failure_reason` once it is FAILED."""

    model_config = example(fee="0.00055", status="DONE", failure_reason=None, ended_at="2026-01-31T12:00:01.731Z")

    backtest_id: UUID
    strategy_id: UUID
    strategy_version: int
    strategy_hash: str
    symbol: str
    interval: str
    generation: int
    from_: Instant = Field(serialization_alias="from")
    to: Instant
    fee: Amount
    slippage: Amount
    initial_balance: Amount
    status: BacktestStatus
    progress: ProgressView
    result: ResultView | None
    failure_reason: str | None
    created_at: Instant
    started_at: Instant | None
    ended_at: Instant | None


class BacktestFillView(ViewModel):
    model_config = example(action="close", price="91350", fee="2.7633375", reason="exit_signal")

    fill_number: int
    time: Instant
    action: Literal["open", "close"]
    side: Literal["LONG", "SHORT"]
    qty: Amount
    price: Amount
    fee: Amount
    reason: str


class BacktestTradeView(ViewModel):
    """`pnl` is net of `fee`, the fees of all its fills; `bars` counts the closes while it was open."""

    model_config = example(reason="exit_signal", bars=9)

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
    pnl_percentage: Amount
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
        fee=row.terms.fee,
        slippage=row.terms.slippage,
        initial_balance=row.terms.initial_balance,
        status=row.status,
        progress=ProgressView(done=row.done, total=row.bars, percent=100 * row.done // row.bars),
        result=None if row.result is None else _result_view(row.result),
        failure_reason=row.failure_reason,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _result_view(result: ResultRow) -> ResultView:
    return ResultView(
        fingerprint=result.fingerprint,
        final_equity=result.final_equity,
        fills=result.fills,
        trades=result.trades,
        missing_bars=result.missing_bars,
        first_decision=result.first_decision,
        metrics=MetricsView.model_validate(result.metrics),
        calculated_at=result.created_at,
    )


def fill_view(row: BacktestFill) -> BacktestFillView:
    return BacktestFillView.model_validate(row)


def trade_view(row: BacktestTrade) -> BacktestTradeView:
    return BacktestTradeView.model_validate(row)
