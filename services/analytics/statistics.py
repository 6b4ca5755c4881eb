"""Statistics of analytics: float64 of unrounded values, rounded once to 6 places, None where undefined."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from shared import statistics
from shared.statistics import LEAST_DAYS


@dataclass(frozen=True)
class RiskRatios:
    """Of less than ten days each is None."""

    sharpe: Decimal | None
    sortino: Decimal | None
    calmar: Decimal | None
    volatility: Decimal | None


def risk_ratios(
    returns: Sequence[float], growth: Fraction | None, days: int, drawdown: Fraction | None
) -> RiskRatios:
    """Of daily returns over so many calendar days. `drawdown` is the deepest as a share of the highest equity."""
    sharpe, volatility = trailing_risk(returns)
    calmar = statistics.calmar(_float(growth), days, _float(None if drawdown is None else drawdown * 100))
    return RiskRatios(sharpe, shown(statistics.sortino(returns)), shown(calmar), volatility)


def trailing_risk(returns: Sequence[float]) -> tuple[Decimal | None, Decimal | None]:
    """Sharpe and volatility of daily returns, per year; None under ten days."""
    if len(returns) < LEAST_DAYS:
        return None, None
    return shown(statistics.sharpe(returns)), shown(statistics.volatility(returns))


def shown(value: float | None) -> Decimal | None:
    """As it is stored and shown: the shortest text of the float64 of 6 places."""
    rounded = statistics.rounded(value)
    return None if rounded is None else Decimal(repr(rounded))


def _float(value: Fraction | None) -> float | None:
    """None as well where it is beyond float64."""
    try:
        return None if value is None else float(value)  # a statistic
    except OverflowError:
        return None
