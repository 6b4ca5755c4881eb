"""What came of a backtest, as statistics: float64, rounded to 6 places, None where undefined."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from shared.strategy.bars import DAY_MS
from shared.strategy.decimals import ZERO
from shared.strategy.outcome import Trade
from shared.strategy.series import Series

DAYS_A_YEAR = 365


@dataclass(frozen=True, slots=True)
class Metrics:
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


def measure(
    series: Series, trades: Sequence[Trade], initial_balance: Decimal, first_decision: int | None
) -> Metrics:
    """The metrics of a run over `series` that could decide from the bar `first_decision` on."""
    initial = float(initial_balance)
    gains = [float(trade.pnl) for trade in trades]
    curve = _equity_curve(trades, initial_balance)
    returns = _daily_returns(series, trades, initial_balance)
    drawdown = _max_drawdown_pct(curve)
    losses = -math.fsum(gain for gain in gains if gain < 0)
    bars = sum(trade.bars for trade in trades)
    decided = 0 if first_decision is None else len(series) - first_decision
    return Metrics(
        total_return_pct=_rounded((curve[-1] / initial - 1) * 100),
        buy_and_hold_pct=_rounded(_buy_and_hold_pct(series, first_decision)),
        max_drawdown_pct=_rounded(drawdown),
        win_rate_pct=_rounded(_ratio(100 * sum(gain > 0 for gain in gains), len(gains))),
        profit_factor=_rounded(_ratio(math.fsum(gain for gain in gains if gain > 0), losses)),
        expectancy=_rounded(_ratio(math.fsum(gains), len(gains))),
        avg_bars=_rounded(_ratio(bars, len(trades))),
        exposure_pct=_rounded(_ratio(100 * bars, decided)),
        sharpe=_rounded(_sharpe(returns)),
        sortino=_rounded(_sortino(returns)),
        calmar=_rounded(_calmar(curve[-1] / initial, _days(series), drawdown)),
        fees=_rounded(float(sum((trade.fees for trade in trades), ZERO))),
    )


def _equity_curve(trades: Sequence[Trade], initial_balance: Decimal) -> list[float]:
    """Realised equity: the initial balance, then after each trade."""
    curve, equity = [float(initial_balance)], initial_balance
    for trade in trades:
        equity += trade.pnl
        curve.append(float(equity))
    return curve


def _max_drawdown_pct(curve: Sequence[float]) -> float:
    equity = np.array(curve)
    highest = np.maximum.accumulate(equity)
    return float(((highest - equity) / highest).max()) * 100


def _buy_and_hold_pct(series: Series, first_decision: int | None) -> float | None:
    """From the open after the first decision bar to the last close."""
    if first_decision is None or first_decision + 1 >= len(series):
        return None
    bought = float(series.bar(first_decision + 1).open)
    return (float(series.bar(len(series) - 1).close) / bought - 1) * 100


def _days(series: Series) -> int:
    """UTC days from the first bar's to the last's, both counted."""
    if not len(series):
        return 0
    return series.bar(len(series) - 1).open_time_ms // DAY_MS - series.bar(0).open_time_ms // DAY_MS + 1


def _daily_returns(series: Series, trades: Sequence[Trade], initial_balance: Decimal) -> list[float] | None:
    """Realised equity's return on each UTC day; None once there is no equity to have a return on."""
    days = _days(series)
    pnl_by_day: dict[int, Decimal] = {}
    for trade in trades:
        day = trade.exit_time // DAY_MS
        pnl_by_day[day] = pnl_by_day.get(day, ZERO) + trade.pnl
    first = series.bar(0).open_time_ms // DAY_MS if days else 0
    equity, returns = initial_balance, []
    for day in range(first, first + days):
        if equity <= 0:
            return None
        after = equity + pnl_by_day.get(day, ZERO)
        returns.append(float(after) / float(equity) - 1)
        equity = after
    return returns


def _sharpe(returns: Sequence[float] | None) -> float | None:
    if returns is None or len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in returns) / (len(returns) - 1))
    return _ratio(mean * math.sqrt(DAYS_A_YEAR), deviation)


def _sortino(returns: Sequence[float] | None) -> float | None:
    if not returns:
        return None
    mean = math.fsum(returns) / len(returns)
    downside = math.sqrt(math.fsum(min(each, 0.0) ** 2 for each in returns) / len(returns))
    return _ratio(mean * math.sqrt(DAYS_A_YEAR), downside)


def _calmar(growth: float, days: int, drawdown_pct: float) -> float | None:
    if growth <= 0 or days == 0:
        return None
    try:
        yearly = (growth ** (DAYS_A_YEAR / days) - 1) * 100
    except OverflowError:
        return None
    return _ratio(yearly, drawdown_pct)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None


def _rounded(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, 6) + 0.0
