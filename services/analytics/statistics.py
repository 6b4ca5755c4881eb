"""Statistics: float64, rounded to 6 places, None where undefined. Nothing here is money."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

DAYS_PER_YEAR = 365
LEAST_DAYS = 10
# Returns have 10 decimals: a smaller deviation is the noise of float64, not a deviation.
LEAST_DEVIATION = 1e-13


@dataclass(frozen=True)
class RiskRatios:
    """Of no day at all each is None."""

    sharpe: Decimal | None
    sortino: Decimal | None
    calmar: Decimal | None
    volatility: Decimal | None


def risk_ratios(returns_pct: Sequence[Decimal], growth: Decimal | None, drawdown_pct: Decimal | None) -> RiskRatios:
    """Of consecutive calendar days, those without trades included. `growth`: ending over starting balance."""
    returns = _fractions(returns_pct)
    deviation = _deviation(returns)
    return RiskRatios(
        rounded(_sharpe(returns, deviation)),
        rounded(_sortino(returns)),
        rounded(_calmar(growth, len(returns), drawdown_pct)),
        rounded(_yearly(deviation)),
    )


def trailing_risk(returns_pct: Sequence[Decimal]) -> tuple[Decimal | None, Decimal | None]:
    """Of daily returns, both × √365: mean over sample deviation, and that deviation; None under 10 days."""
    if len(returns_pct) < LEAST_DAYS:
        return None, None
    returns = _fractions(returns_pct)
    deviation = _deviation(returns)
    return rounded(_sharpe(returns, deviation)), rounded(_yearly(deviation))


def compounded_pct(returns_pct: Sequence[Decimal | None]) -> Decimal | None:
    """One return after the other on what was there then; None where one of them is not defined."""
    if any(value is None for value in returns_pct):
        return None
    return rounded((math.prod(1 + value for value in _fractions(returns_pct)) - 1) * 100)


def ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """Such as the profit factor; None where there is no whole."""
    return rounded(float(part) / float(whole)) if whole > 0 else None  # a statistic


def rounded(value: float | None) -> Decimal | None:
    """As it is stored and shown: the shortest text of the float64 of 6 places."""
    if value is None or not math.isfinite(value):
        return None
    return Decimal(repr(round(value, 6) + 0.0))


def _fractions(returns_pct: Sequence[Decimal | None]) -> list[float]:
    return [float(value) / 100 for value in returns_pct if value is not None]  # a statistic


def _yearly(deviation: float | None) -> float | None:
    return None if deviation is None else deviation * math.sqrt(DAYS_PER_YEAR)


def _deviation(returns: Sequence[float]) -> float | None:
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in returns) / (len(returns) - 1))
    return deviation if deviation > LEAST_DEVIATION else 0.0


def _sharpe(returns: Sequence[float], deviation: float | None) -> float | None:
    return math.fsum(returns) / len(returns) / deviation * math.sqrt(DAYS_PER_YEAR) if deviation else None


def _sortino(returns: Sequence[float]) -> float | None:
    if not returns:
        return None
    downside = math.sqrt(math.fsum(min(value, 0.0) ** 2 for value in returns) / len(returns))
    return math.fsum(returns) / len(returns) / downside * math.sqrt(DAYS_PER_YEAR) if downside else None


def _calmar(growth: Decimal | None, days: int, drawdown_pct: Decimal | None) -> float | None:
    if not days or growth is None or growth <= 0 or not drawdown_pct:
        return None
    try:
        yearly_pct = (math.pow(float(growth), DAYS_PER_YEAR / days) - 1) * 100  # a statistic
    except OverflowError:
        return None
    return yearly_pct / float(drawdown_pct)  # a statistic
