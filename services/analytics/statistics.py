"""Statistics of analytics: float64 of unrounded values, rounded once to 6 places, None where undefined."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from shared import statistics
from shared.statistics import MIN_DAYS


@dataclass(frozen=True)
class RiskRatios:
    """Ratios per year; all are None for fewer than ten days."""

    sharpe: Decimal | None
    sortino: Decimal | None
    calmar: Decimal | None
    volatility: Decimal | None


def risk_ratios(
    returns: Sequence[float], growth: Fraction | None, days: int, drawdown: Fraction | None
) -> RiskRatios:
    """Return ratios of daily returns over `days` calendar days. `drawdown`: the deepest, as a share of its peak."""
    sharpe, volatility = trailing_risk(returns)
    calmar = statistics.calmar(_float(growth), days, _float(None if drawdown is None else drawdown * 100))
    return RiskRatios(sharpe, rounded_decimal(statistics.sortino(returns)), rounded_decimal(calmar), volatility)


def trailing_risk(returns: Sequence[float]) -> tuple[Decimal | None, Decimal | None]:
    """Return Sharpe ratio and volatility of daily returns, per year; None for fewer than ten days."""
    if len(returns) < MIN_DAYS:
        return None, None
    sharpe, volatility = statistics.sharpe_and_volatility(returns)
    return rounded_decimal(sharpe), rounded_decimal(volatility)


def rounded_decimal(value: float | None) -> Decimal | None:
    """Round to 6 places. The result has the digits of the shortest text of that float64, as stored and shown."""
    rounded = statistics.rounded(value)
    return None if rounded is None else Decimal(repr(rounded))


def _float(value: Fraction | None) -> float | None:
    """Convert to float; None also if the value is beyond float64."""
    try:
        return None if value is None else float(value)  # a statistic
    except OverflowError:
        return None
