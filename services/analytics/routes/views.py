"""Response models of analytics. Statistics have 6 places.

Field descriptions have the details; docs/statistics.md has the formulas.
"""

from datetime import date
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from services.analytics.domain.calendar import DayStatus
from services.analytics.domain.summary import Sums
from services.analytics.routes.period import Mode
from shared.contracts.examples import EXIT, example
from shared.contracts.types import Amount, Instant, Statistic, ViewModel
from shared.statistics import REALISED, WIN_RATE

ON_CAPITAL = "Relative to `capital_at_work`; null if that is not above 0."
TEN_DAYS = "Per year; null for fewer than 10 days"
TRAILING = f"Of the last 30 days. {TEN_DAYS}"


class SumsView(ViewModel):
    """All values are exact except the last five, which are statistics. `gains` and `losses` are both ≥ 0."""

    total_trades: int = Field(validation_alias="trades")
    winning_trades: int
    losing_trades: int
    pnl: Amount
    fee: Amount = Field(validation_alias="fees")
    gains: Amount
    losses: Amount
    best_trade: Amount | None
    worst_trade: Amount | None
    win_rate_percentage: Statistic = Field(validation_alias="win_rate_pct", description=WIN_RATE)
    profit_factor: Statistic
    expectancy: Statistic
    average_win: Statistic
    average_loss: Statistic


class BySymbolView(SumsView):
    symbol: str


class ByStrategyView(SumsView):
    strategy_id: UUID
    strategy_name: str


class DrawdownView(ViewModel):
    """A drawdown of realised equity, from the day of its peak to the day of recovery, null if there is none yet."""

    model_config = example(
        percentage=1.204819,
        peak_date="2026-01-19",
        trough_date="2026-01-23",
        recovery_date="2026-01-31",
        duration_days=12,
    )

    percentage: Statistic
    peak_date: date
    trough_date: date
    recovery_date: date | None
    duration_days: int = Field(validation_alias="days")


class SummaryView(SumsView):
    """`current_streak` is above 0 for winning trades and below 0 for losing ones; a trade that breaks even ends it.
    Balances include all capital that sessions ever added; percentages are relative to the capital at work.
    """

    model_config = example(longest_winning_streak=1, longest_losing_streak=0, current_streak=1)

    mode: Mode
    timezone: str
    starting_balance: Amount
    ending_balance: Amount
    return_percentage: Statistic = Field(
        description="The daily returns on the capital at work, compounded; null if a day with trades had none."
    )
    max_drawdown_percentage: Statistic = Field(description=REALISED)
    deepest_drawdown: DrawdownView | None
    longest_drawdown: DrawdownView | None
    longest_winning_streak: int
    longest_losing_streak: int
    current_streak: int
    volatility: Statistic = Field(description=f"{TEN_DAYS}.")
    sharpe: Statistic = Field(description=f"{TEN_DAYS}, or if all returns are equal.")
    sortino: Statistic = Field(description=f"{TEN_DAYS}, or without a losing day.")
    calmar: Statistic = Field(description=f"{TEN_DAYS}, or without a drawdown.")
    by_symbol: list[BySymbolView]
    by_strategy: list[ByStrategyView]


class DayData(ViewModel):
    """The capital that sessions added and took since the previous day with trades."""

    version: int
    capital_added: Amount
    capital_taken: Amount = Decimal(0)


class DayView(ViewModel):
    """Balances include all capital that sessions ever added; percentages are relative to the capital at work."""

    model_config = example(pnl_percentage=0.680762)

    date: date
    timezone: str
    starting_balance: Amount
    ending_balance: Amount
    capital_at_work: Amount | None = Field(
        description="Balance of running sessions at the start of the day, plus the highest net inflow of capital "
        "during the day; null in days that an earlier version computed."
    )
    pnl: Amount = Field(validation_alias="daily_pnl")
    pnl_percentage: Statistic = Field(validation_alias="daily_pnl_percentage", description=ON_CAPITAL)
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate_percentage: Statistic = Field(validation_alias="win_rate", description=WIN_RATE)
    max_drawdown_percentage: Statistic = Field(
        validation_alias="max_drawdown", description=f"{ON_CAPITAL} {REALISED}"
    )
    sharpe: Statistic = Field(
        validation_alias="sharpe_ratio", description=f"{TRAILING}, or if all returns are equal."
    )
    volatility: Statistic = Field(description=f"{TRAILING}.")
    data: DayData
    created_at: Instant


class EquityPoint(ViewModel):
    """Equity after a trade, or after a session added or took capital. `total_pnl` is the pnl of all trades so far,
    `equity` adds the capital that sessions have added so far, `in_sessions` subtracts what stopped ones have taken.
    """

    model_config = example(kind="TRADE", equity_time=EXIT)

    equity_time: Instant = Field(validation_alias="time")
    kind: Literal["CAPITAL_ADDED", "TRADE", "CAPITAL_TAKEN"]
    trade_id: UUID | None
    session_id: UUID
    symbol: str
    pnl: Amount
    capital_added: Amount
    capital_taken: Amount
    total_pnl: Amount
    equity: Amount
    in_sessions: Amount


class CalendarDayView(ViewModel):
    """QUIET: a day without trades; COMING: a day in the future."""

    model_config = example(status="TRADED", pnl_percentage=0.680762)

    date: date
    status: DayStatus
    pnl: Amount | None = Field(validation_alias="daily_pnl")
    pnl_percentage: Statistic = Field(validation_alias="daily_pnl_percentage")
    total_trades: int


class MonthView(ViewModel):
    """`return_percentage` compounds the daily returns; null if a day with trades had no capital at work."""

    model_config = example(month=1, days_traded=1, winning_days=1, losing_days=0)

    month: int
    pnl: Amount
    return_percentage: Statistic = Field(validation_alias="return_pct")
    total_trades: int
    days_traded: int
    winning_days: int
    losing_days: int
    days: list[CalendarDayView]


class CalendarView(ViewModel):
    model_config = example(year=2026)

    year: int
    mode: Mode
    timezone: str
    months: list[MonthView]


class WatchView(ViewModel):
    model_config = example(ema_period=20)

    watch_id: UUID
    symbol: str
    interval: str
    ema_period: int
    created_at: Instant


class AnalysisDataView(ViewModel):
    model_config = example(series="bybit:BTCUSDT:15:1")

    version: int
    series: str
    open: Amount
    high: Amount
    low: Amount


class AnalysisView(ViewModel):
    """`open_time` is the candle's. EMA values are null until the EMA is defined. `is_watchlist` is true while the
    watch is on the list. The ETag is derived from `version`.
    """

    model_config = example(
        ema_value="90871.25",
        ema_period=20,
        candles_above_ema=9,
        distance_from_ema_percentage=0.526844,
        trend_direction="UP",
        notes="Above since the morning",
        is_watchlist=True,
    )

    analysis_id: UUID
    watch_id: UUID
    open_time: Instant = Field(validation_alias="timestamp")
    symbol: str
    interval: str
    price: Amount
    ema_value: Amount | None
    ema_period: int
    candles_above_ema: int | None
    distance_from_ema_percentage: Statistic = Field(validation_alias="distance_from_ema")
    trend_direction: Literal["UP", "DOWN", "FLAT"] | None
    volume: Amount
    analysis_data: AnalysisDataView
    notes: str | None = Field(validation_alias="user_notes")
    is_watchlist: bool
    version: int


def sums_fields(sums: Sums) -> dict[str, object]:
    """Return the fields of SumsView."""
    derived = ("win_rate_pct", "profit_factor", "expectancy", "average_win", "average_loss")
    return {**vars(sums), **{name: getattr(sums, name) for name in derived}}


def round_amount(value: Decimal | None) -> Decimal | None:
    """Round to at most 18 places, the limit for amounts in responses. A float64 with more places is below 0.1."""
    if value is None or int(value.as_tuple().exponent) >= -18:
        return value
    return round(value, 18)
