"""Statistics: float64, rounded to 6 places, None where undefined. Nothing here is money."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

DAYS_PER_YEAR = 365
LEAST_DAYS = 10


def rounded(value: float | None) -> Decimal | None:
    """As it is stored and shown."""
    if value is None or not math.isfinite(value):
        return None
    return Decimal(repr(round(value, 6)))


def trailing_volatility(returns_pct: Sequence[Decimal]) -> Decimal | None:
    """Sample deviation of daily returns × √365; None under 10 days."""
    deviation = _deviation(_floats(returns_pct))
    if len(returns_pct) < LEAST_DAYS or deviation is None:
        return None
    return rounded(deviation * math.sqrt(DAYS_PER_YEAR))


def trailing_sharpe(returns_pct: Sequence[Decimal]) -> Decimal | None:
    """Mean over sample deviation of daily returns × √365; None under 10 days."""
    if len(returns_pct) < LEAST_DAYS:
        return None
    return rounded(_sharpe(_floats(returns_pct)))


@dataclass(frozen=True)
class RiskRatios:
    sharpe: Decimal | None
    sortino: Decimal | None
    calmar: Decimal | None


def risk_ratios(returns_pct: Sequence[Decimal], growth: Decimal | None, drawdown_pct: Decimal | None) -> RiskRatios:
    """Over all calendar days, those without trades included. `growth`: ending over starting balance."""
    returns = _floats(returns_pct)
    return RiskRatios(
        rounded(_sharpe(returns)), rounded(_sortino(returns)), rounded(_calmar(growth, len(returns), drawdown_pct))
    )


def _floats(returns_pct: Sequence[Decimal]) -> list[float]:
    return [float(value) / 100 for value in returns_pct]  # a statistic


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _sharpe(returns: Sequence[float]) -> float | None:
    deviation = _deviation(returns)
    return _mean(returns) / deviation * math.sqrt(DAYS_PER_YEAR) if deviation else None


def _sortino(returns: Sequence[float]) -> float | None:
    if len(returns) < 2:
        return None
    downside = math.sqrt(math.fsum(min(value, 0.0) ** 2 for value in returns) / len(returns))
    return _mean(returns) / downside * math.sqrt(DAYS_PER_YEAR) if downside else None


def _calmar(growth: Decimal | None, days: int, drawdown_pct: Decimal | None) -> float | None:
    if not days or growth is None or growth <= 0 or not drawdown_pct:
        return None
    try:
        yearly = math.pow(float(growth), DAYS_PER_YEAR / days) - 1  # a statistic
    except OverflowError:
        return None
    return yearly / (float(drawdown_pct) / 100)  # a statistic


def ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """Such as the profit factor."""
    return rounded(float(part / whole)) if whole else None  # a statistic
