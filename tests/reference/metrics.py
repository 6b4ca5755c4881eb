"""The statistics of a run, from the exact numbers of its trades; None where undefined."""

import math
import statistics
from collections.abc import Sequence
from fractions import Fraction

from tests.reference.execution import DAY_MS, Bar, Result, Trade

LEAST_DAYS = 10  # of returns; with fewer there is no Sharpe, Sortino or Calmar


def _ratio(numerator: float | Fraction, denominator: float | Fraction) -> float | None:
    return float(numerator / denominator) if denominator > 0 else None


def _daily_returns(days: range, trades: Sequence[Trade], initial: Fraction) -> list[float] | None:
    """One return for each UTC day, including days without bars; None once the equity is lost."""
    returns, equity = [], initial
    for day in days:
        if equity <= 0:
            return None
        earned = sum((trade.pnl for trade in trades if trade.exit_time // DAY_MS == day), Fraction(0))
        returns.append(float(earned / equity))
        equity += earned
    return returns


def metrics(
    bars: Sequence[Bar], result: Result, initial: Fraction, trade_from: int | None
) -> dict[str, float | None]:
    trades, start = result.trades, result.decides_from
    gains = [trade.pnl for trade in trades if trade.pnl > 0]
    losses = [-trade.pnl for trade in trades if trade.pnl < 0]
    equity = peak = initial
    drawdown = Fraction(0)
    for trade in trades:
        equity += trade.pnl
        peak = max(peak, equity)
        drawdown = max(drawdown, (peak - equity) / peak * 100)
    seen = sum(trade.bars for trade in trades)
    began = 0 if trade_from is None else start
    days = range(bars[began].time // DAY_MS, bars[-1].time // DAY_MS + 1) if began < len(bars) else range(0)
    returns = _daily_returns(days, trades, initial)
    hold = None
    if start + 1 < len(bars):
        hold = float((Fraction(bars[-1].close) / Fraction(bars[start + 1].open) - 1) * 100)
    out = {
        "total_return_pct": float((equity / initial - 1) * 100),
        "buy_and_hold_pct": hold,
        "max_drawdown_pct": float(drawdown),
        "win_rate_pct": _ratio(Fraction(100 * len(gains)), Fraction(len(trades))),
        "profit_factor": _ratio(sum(gains, Fraction(0)), sum(losses, Fraction(0))),
        "expectancy": _ratio(equity - initial, Fraction(len(trades))),
        "avg_bars": _ratio(Fraction(seen), Fraction(len(trades))),
        "exposure_pct": _ratio(Fraction(100 * seen), Fraction(len(bars) - start)),
        "sharpe": None,
        "sortino": None,
        "calmar": _calmar(equity / initial, len(days), drawdown),
        "fees": float(sum((trade.fees for trade in trades), Fraction(0))),
    }
    if returns and len(returns) >= LEAST_DAYS:
        mean = statistics.fmean(returns)
        downside = math.sqrt(statistics.fmean(min(each, 0.0) ** 2 for each in returns))
        noise = max(1e-13, 1e-9 * max(map(abs, returns)))
        out["sortino"] = mean * math.sqrt(365) / downside if downside > noise else None
        deviation = statistics.stdev(returns)
        out["sharpe"] = mean * math.sqrt(365) / deviation if deviation > noise else None
    return {key: None if value is None else round(value, 6) for key, value in out.items()}


def _calmar(growth: Fraction, days: int, drawdown: Fraction) -> float | None:
    if growth <= 0 or days < LEAST_DAYS:
        return None
    try:
        yearly = (float(growth) ** (365 / days) - 1) * 100
    except OverflowError:
        return None
    return _ratio(yearly, float(drawdown))
