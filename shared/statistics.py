"""Statistics of returns and equity, each defined once for backtests and analytics: float64, unrounded, pure.

Displayed figures are rounded once, at the end (`rounded`); a figure derived from others uses their unrounded
values. None means undefined.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext

DAYS_PER_YEAR = 365
"""A crypto market trades every day."""
MIN_DAYS = 10
"""Sharpe, Sortino and Calmar are undefined for fewer daily returns: a week says nothing about a year."""
MIN_DEVIATION = 1e-13
"""A deviation of daily returns (as fractions) not above it is rounding noise of float64."""
MIN_RELATIVE_DEVIATION = 1e-9
"""The same bound relative to the largest return: amounts have 8 places, so equal returns differ slightly."""
WIN_RATE = (
    "Share of trades with a pnl above 0, in percent; a trade that breaks even counts as a trade but not as won."
)
"""Shown with every win rate of the API."""
REALISED = "Of closed trades only: the loss of an open position is included once the trade is closed."
"""Shown with every drawdown of the API."""
_PRECISION = 60  # digits; sums of amounts stay exact far beyond any balance
_PLACES = 6


def fraction(part: Decimal, whole: Decimal) -> float | None:
    """Return `part / whole`, correct to float64; None unless `whole` is above 0."""
    if whole <= 0:
        return None
    with localcontext() as context:
        context.prec = _PRECISION
        return float(part / whole)


def realised_returns(starting: Decimal, daily_pnls: Iterable[Decimal]) -> list[float] | None:
    """Return each day's pnl as a fraction of the equity at its start, if no capital is added or withdrawn.

    Returns None if a day starts without equity.
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
    """Return the sample deviation (n - 1): 0 if the returns differ only by rounding, None for fewer than two."""
    if len(returns) < 2:
        return None
    average = mean(returns)
    squares = math.fsum((value - average) ** 2 for value in returns)
    return _above_noise(math.sqrt(squares / (len(returns) - 1)), returns)


def mean(returns: Sequence[float]) -> float:
    return math.fsum(returns) / len(returns)


def volatility(returns: Sequence[float]) -> float | None:
    """Return the annualised deviation of daily returns; None for fewer than two."""
    return sharpe_and_volatility(returns)[1]


def sharpe(returns: Sequence[float]) -> float | None:
    """Return mean over sample deviation of daily returns, annualised, without a risk-free rate.

    Returns None for fewer than MIN_DAYS returns, or if they are equal.
    """
    return sharpe_and_volatility(returns)[0]


def sharpe_and_volatility(returns: Sequence[float]) -> tuple[float | None, float | None]:
    """Return both at the cost of one: they share the deviation."""
    daily = deviation(returns)
    if daily is None:
        return None, None
    sharpe_ratio = _per_year(returns, daily) if len(returns) >= MIN_DAYS else None
    return sharpe_ratio, daily * math.sqrt(DAYS_PER_YEAR)


def sortino(returns: Sequence[float]) -> float | None:
    """Return mean over downside deviation against 0 of daily returns, annualised.

    Returns None for fewer than MIN_DAYS returns, or if none is a loss.
    """
    if len(returns) < MIN_DAYS:
        return None
    squares = math.fsum(min(value, 0.0) ** 2 for value in returns)
    return _per_year(returns, _above_noise(math.sqrt(squares / len(returns)), returns))


def calmar(growth: float | None, days: int, drawdown_pct: float | None) -> float | None:
    """Return the compounded yearly return in percent over the maximum drawdown in percent, both unrounded.

    `growth` is ending over starting equity after `days` calendar days. Returns None for fewer than MIN_DAYS,
    without a drawdown, or if no equity is left to compound.
    """
    if days < MIN_DAYS or growth is None or growth <= 0 or drawdown_pct is None:
        return None
    if drawdown_pct <= MIN_DEVIATION * 100:
        return None
    try:
        yearly_pct = (math.pow(growth, DAYS_PER_YEAR / days) - 1) * 100
    except OverflowError:
        return None
    return yearly_pct / drawdown_pct


def max_drawdown_pct(starting: Decimal, pnls: Iterable[Decimal]) -> float | None:
    """Return the maximum drawdown: the largest fall of realised equity below its highest value so far, including
    the start, in percent of that value.

    Returns None if equity was never above 0.
    """
    with localcontext() as context:
        context.prec = _PRECISION
        equity = highest = starting
        fall, below = Decimal(0), starting  # the largest fall so far, and the high that it is below
        for pnl in pnls:
            equity += pnl
            highest = max(highest, equity)
            if highest > 0 and (below <= 0 or (highest - equity) * below > fall * highest):
                fall, below = highest - equity, highest
        deepest = fraction(fall, below)
    return None if deepest is None else deepest * 100


def ratio(part: float, whole: float) -> float | None:
    """Return `part / whole`; None unless `whole` is above 0."""
    return part / whole if whole > 0 else None


def rounded(value: float | None) -> float | None:
    """Round to 6 places, without a negative zero, as figures are stored and shown. Returns None if not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, _PLACES) + 0.0


def _per_year(returns: Sequence[float], daily_deviation: float | None) -> float | None:
    return mean(returns) / daily_deviation * math.sqrt(DAYS_PER_YEAR) if daily_deviation else None


def _above_noise(value: float, returns: Sequence[float]) -> float:
    largest = max(map(abs, returns))
    return value if value > max(MIN_DEVIATION, MIN_RELATIVE_DEVIATION * largest) else 0.0
