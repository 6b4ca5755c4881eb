"""What analytics answers. Money is a string; statistics are numbers of 6 places, null where undefined.

What a figure leaves open stands in its description; docs/statistics.md has the formulas.
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
from shared.contracts.types import Amount, Instant, ViewModel

Statistic = float | None
WIN_RATE = "Share of trades with a pnl above 0, in percent; one that broke even counts as a trade and not as won."
REALISED = "Of finished trades only: a loss of an open position is not in it until the trade has ended."
ON_CAPITAL = "Of `capital_at_work`; null where that is not above 0."
TEN_DAYS = "Per year; null of fewer than 10 days"
TRAILING = f"Of the last 30 days. {TEN_DAYS}"


class SumsView(ViewModel):
    """Exact, but for the last five, which are statistics. `gains` and `losses` are both ≥ 0."""

    trades: int
    winning_trades: int
    losing_trades: int
    pnl: Amount
    fees: Amount
    gains: Amount
    losses: Amount
    best_trade: Amount | None
    worst_trade: Amount | None
    win_rate_pct: Statistic = Field(description=WIN_RATE)
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
    """Of realised equity: from the day of the highest to the one on which it was reached again, null if not yet."""

    model_config = example(
        pct=1.204819, peak_date="2026-01-19", trough_date="2026-01-23", recovery_date="2026-01-31", days=12
    )

    pct: Statistic
    peak_date: date
    trough_date: date
    recovery_date: date | None
    days: int


class SummaryView(SumsView):
    """`current_streak` counts trades won above 0, lost below; one that broke even ends it. Balances are of all that
    sessions ever brought in; percentages are of the capital that was at work.
    """

    model_config = example(longest_winning_streak=1, longest_losing_streak=0, current_streak=1)

    mode: Mode
    timezone: str
    starting_balance: Amount
    ending_balance: Amount
    return_pct: Statistic = Field(
        description="The days' returns on the capital at work, compounded; null where a day with trades had none."
    )
    max_drawdown_pct: Statistic = Field(description=REALISED)
    deepest_drawdown: DrawdownView | None
    longest_drawdown: DrawdownView | None
    longest_winning_streak: int
    longest_losing_streak: int
    current_streak: int
    volatility: Statistic = Field(description=f"{TEN_DAYS}.")
    sharpe: Statistic = Field(description=f"{TEN_DAYS}, and where all returns are equal.")
    sortino: Statistic = Field(description=f"{TEN_DAYS}, and without a day of loss.")
    calmar: Statistic = Field(description=f"{TEN_DAYS}, and without a drawdown.")
    by_symbol: list[BySymbolView]
    by_strategy: list[ByStrategyView]


class DayData(ViewModel):
    """What sessions brought in and gave back since the day before with trades."""

    version: int
    capital_added: Amount
    capital_taken: Amount = Decimal(0)


class DayView(ViewModel):
    """Balances are of all that sessions ever brought in; percentages are of the capital that was at work."""

    date: date
    timezone: str
    starting_balance: Amount
    ending_balance: Amount
    capital_at_work: Amount | None = Field(
        description="What running sessions held at the start of the day, and the most that sessions begun in it "
        "brought in beyond what others had given back by then; null in days that an earlier version cut."
    )
    daily_pnl: Amount
    daily_pnl_percentage: Amount | None = Field(description=ON_CAPITAL)
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Amount | None = Field(description=WIN_RATE)
    max_drawdown: Amount | None = Field(description=f"{ON_CAPITAL} {REALISED}")
    sharpe_ratio: Statistic = Field(description=f"{TRAILING}, and where all returns are equal.")
    volatility: Statistic = Field(description=f"{TRAILING}.")
    data: DayData
    created_at: Instant


class EquityPoint(ViewModel):
    """After a trade, or after a session brought capital in or gave it back. `total_pnl` is all pnl up to it,
    `equity` that and all that sessions begun by then brought in, `in_sessions` without what stopped ones gave back.
    """

    model_config = example(kind="TRADE", time=EXIT)

    time: Instant
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
    """QUIET: nothing was traded; COMING: it has not been yet."""

    model_config = example(status="TRADED")

    date: date
    status: DayStatus
    daily_pnl: Amount | None
    daily_pnl_percentage: Amount | None
    total_trades: int


class MonthView(ViewModel):
    """`return_pct` compounds the days' returns; null where a day with trades had no capital at work."""

    model_config = example(month=1, days_traded=1, winning_days=1, losing_days=0)

    month: int
    pnl: Amount
    return_pct: Statistic
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
    """`timestamp` is the candle's open time. Values of the EMA are null until it is defined. `is_watchlist`: its
    watch is on the list still. The ETag is of `version`.
    """

    model_config = example(
        ema_value="90871.25",
        ema_period=20,
        candles_above_ema=9,
        distance_from_ema="0.526844",
        trend_direction="UP",
        user_notes="Above since the morning",
        is_watchlist=True,
    )

    analysis_id: UUID
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
    version: int


def sums_fields(sums: Sums) -> dict[str, object]:
    """As SumsView takes them."""
    derived = ("win_rate_pct", "profit_factor", "expectancy", "average_win", "average_loss")
    return {**vars(sums), **{name: getattr(sums, name) for name in derived}}


def shortened(value: Decimal | None) -> Decimal | None:
    """As an amount may stand on the wire: at most 18 places. A float64 with more than that is below 0.1."""
    if value is None or int(value.as_tuple().exponent) >= -18:
        return value
    return round(value, 18)
