"""Statistics of returns and equity, each defined once for backtests and analytics: float64, unrounded, pure.

Figures that are shown are rounded once, at the end (`rounded`): one that is made of others is made of their
unrounded values. None means undefined.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext

DAYS_PER_YEAR = 365
"""A crypto market trades every day."""
LEAST_DAYS = 10
"""Sharpe, Sortino and Calmar of fewer daily returns are undefined: a year cannot be read from a week."""
LEAST_DEVIATION = 1e-13
"""Of daily returns as fractions: what is not above it is float64's rounding."""
LEAST_RELATIVE_DEVIATION = 1e-9
"""The same as a share of the largest return: amounts have 8 places, so equal returns differ in the last digits."""
_PRECISION = 60  # digits; sums of amounts stay exact far beyond any balance
_PLACES = 6


def fraction(part: Decimal, whole: Decimal) -> float | None:
    """`part / whole`, correct to float64; None unless `whole` is above 0."""
    if whole <= 0:
        return None
    with localcontext() as context:
        context.prec = _PRECISION
        return float(part / whole)


def realised_returns(starting: Decimal, daily_pnls: Iterable[Decimal]) -> list[float] | None:
    """Each day's pnl as a fraction of the equity at its start, where no capital is added or taken.

    None if a day starts without equity.
    """
    returns = []
    with localcontext() as context:
        context.prec = _PRECISION
        equity = starting
        for pnl in daily_pnls:
            value = fraction(pnl, equity)
            if value is None:
                return None
            returns.append(value)
            equity += pnl
    return returns


def deviation(returns: Sequence[float]) -> float | None:
    """Sample deviation (n - 1); 0 where the returns differ by rounding only; None of fewer than two."""
    if len(returns) < 2:
        return None
    average = mean(returns)
    squares = math.fsum((value - average) ** 2 for value in returns)
    return _above_noise(math.sqrt(squares / (len(returns) - 1)), returns)


def mean(returns: Sequence[float]) -> float:
    return math.fsum(returns) / len(returns)


def volatility(returns: Sequence[float]) -> float | None:
    """The deviation of daily returns, per year; None of fewer than two."""
    daily = deviation(returns)
    return None if daily is None else daily * math.sqrt(DAYS_PER_YEAR)


def sharpe(returns: Sequence[float]) -> float | None:
    """Mean over sample deviation of daily returns, per year, without a risk-free rate.

    None of fewer than LEAST_DAYS returns, and where they are equal.
    """
    return _per_year(returns, deviation(returns)) if len(returns) >= LEAST_DAYS else None


def sortino(returns: Sequence[float]) -> float | None:
    """Mean over downside deviation against 0 of daily returns, per year.

    None of fewer than LEAST_DAYS returns, and where none is a loss.
    """
    if len(returns) < LEAST_DAYS:
        return None
    squares = math.fsum(min(value, 0.0) ** 2 for value in returns)
    return _per_year(returns, _above_noise(math.sqrt(squares / len(returns)), returns))


def calmar(growth: float | None, days: int, drawdown_pct: float | None) -> float | None:
    """Compounded yearly return in percent over the greatest drawdown in percent, both unrounded.

    `growth` is ending over starting equity, after `days` calendar days. None of fewer than LEAST_DAYS, without a
    drawdown, and where nothing is left to compound.
    """
    if days < LEAST_DAYS or growth is None or growth <= 0 or drawdown_pct is None:
        return None
    if drawdown_pct <= LEAST_DEVIATION * 100:
        return None
    try:
        yearly_pct = (math.pow(growth, DAYS_PER_YEAR / days) - 1) * 100
    except OverflowError:
        return None
    return yearly_pct / drawdown_pct


def max_drawdown_pct(starting: Decimal, pnls: Iterable[Decimal]) -> float | None:
    """The greatest fall of realised equity below its highest so far, the start included, in percent of the highest.

    None where equity was never above 0.
    """
    with localcontext() as context:
        context.prec = _PRECISION
        equity = highest = starting
        deepest = fraction(Decimal(0), starting)
        for pnl in pnls:
            equity += pnl
            highest = max(highest, equity)
            fall = fraction(highest - equity, highest)
            if fall is not None and (deepest is None or fall > deepest):
                deepest = fall
    return None if deepest is None else deepest * 100


def ratio(part: float, whole: float) -> float | None:
    """None unless `whole` is above 0."""
    return part / whole if whole > 0 else None


def rounded(value: float | None) -> float | None:
    """To 6 places, without a negative zero, as figures are stored and shown; None where not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, _PLACES) + 0.0


def _per_year(returns: Sequence[float], daily_deviation: float | None) -> float | None:
    return mean(returns) / daily_deviation * math.sqrt(DAYS_PER_YEAR) if daily_deviation else None


def _above_noise(value: float, returns: Sequence[float]) -> float:
    largest = max(map(abs, returns))
    return value if value > max(LEAST_DEVIATION, LEAST_RELATIVE_DEVIATION * largest) else 0.0
