"""What analytics answers. Money is a string; statistics are numbers of 6 places, null where undefined."""

from datetime import date
from decimal import Decimal
from typing import Literal
from uuid import UUID

from services.analytics.domain.summary import Sums
from services.analytics.routes.period import Mode
from shared.contracts.types import Amount, Instant, ViewModel

Statistic = float | None


class SumsView(ViewModel):
    """Exact, but for the last three, which are statistics. `gains` and `losses` are both ≥ 0."""

    trades: int
    winning_trades: int
    losing_trades: int
    pnl: Amount
    fees: Amount
    gains: Amount
    losses: Amount
    best_trade: Amount | None
    worst_trade: Amount | None
    win_rate_pct: Statistic
    profit_factor: Statistic
    expectancy: Statistic


class BySymbolView(SumsView):
    symbol: str


class ByStrategyView(SumsView):
    strategy_id: UUID
    strategy_name: str


class SummaryView(SumsView):
    mode: Mode
    timezone: str
    starting_balance: Amount
    ending_balance: Amount
    max_drawdown_pct: Statistic
    sharpe: Statistic
    sortino: Statistic
    calmar: Statistic
    by_symbol: list[BySymbolView]
    by_strategy: list[ByStrategyView]


class DayData(ViewModel):
    """`capital_added`: what sessions brought in since the day before with trades."""

    version: int
    capital_added: Amount


class DayView(ViewModel):
    date: date
    timezone: str
    starting_balance: Amount
    ending_balance: Amount
    daily_pnl: Amount
    daily_pnl_percentage: Amount | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Amount | None
    max_drawdown: Amount | None
    sharpe_ratio: Statistic
    volatility: Statistic
    data: DayData
    created_at: Instant


class EquityPoint(ViewModel):
    """After a trade: all pnl up to it, and that with the capital of the sessions begun by then."""

    time: Instant
    trade_id: UUID
    symbol: str
    pnl: Amount
    total_pnl: Amount
    equity: Amount


class WatchView(ViewModel):
    watch_id: UUID
    symbol: str
    interval: str
    ema_period: int
    created_at: Instant


class AnalysisDataView(ViewModel):
    version: int
    series: str
    open: Amount
    high: Amount
    low: Amount


class AnalysisView(ViewModel):
    """`timestamp` is the candle's open time. Values of the EMA are null until it is defined."""

    watch_id: UUID
    timestamp: Instant
    symbol: str
    interval: str
    price: Amount
    ema_value: Amount | None
    ema_period: int
    candles_above_ema: int | None
    distance_from_ema: Amount | None
    trend_direction: Literal["UP", "DOWN", "FLAT"] | None
    volume: Amount
    analysis_data: AnalysisDataView
    user_notes: str | None
    is_watchlist: bool


def sums_fields(sums: Sums) -> dict[str, object]:
    """As SumsView takes them."""
    derived = ("win_rate_pct", "profit_factor", "expectancy")
    return {**vars(sums), **{name: getattr(sums, name) for name in derived}}


def shortened(value: Decimal | None) -> Decimal | None:
    """As an amount may stand on the wire: at most 18 places. A float64 with more than that is below 0.1."""
    if value is None or int(value.as_tuple().exponent) >= -18:
        return value
    return round(value, 18)
