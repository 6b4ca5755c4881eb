"""Ratios use unrounded returns, are undefined below ten days, and rounding errors do not count as deviation."""

import math
import statistics
from decimal import Decimal

import pytest

from shared.statistics import (
    calmar,
    deviation,
    fraction,
    max_drawdown_pct,
    realised_returns,
    rounded,
    sharpe,
    sortino,
    volatility,
)

UPS_AND_DOWNS = [0.01, -0.02, 0.015, 0.0, 0.003, -0.004, 0.02, 0.0, -0.001, 0.007]
START = Decimal(10_000)


def test_sharpe_is_mean_over_sample_deviation_per_year() -> None:
    expected = statistics.fmean(UPS_AND_DOWNS) / statistics.stdev(UPS_AND_DOWNS) * math.sqrt(365)
    assert sharpe(UPS_AND_DOWNS) == pytest.approx(expected, rel=1e-12)
    assert volatility(UPS_AND_DOWNS) == pytest.approx(statistics.stdev(UPS_AND_DOWNS) * math.sqrt(365), rel=1e-12)


def test_sortino_measures_losses_against_zero() -> None:
    downside = math.sqrt((0.02**2 + 0.004**2 + 0.001**2) / 10)
    assert sortino(UPS_AND_DOWNS) == pytest.approx(0.003 / downside * math.sqrt(365), rel=1e-12)


def test_below_ten_days_the_ratios_are_undefined() -> None:
    assert sharpe(UPS_AND_DOWNS[:9]) is None
    assert sortino(UPS_AND_DOWNS[:9]) is None
    assert calmar(1.01, 9, 2.0) is None
    assert calmar(1.01, 10, 2.0) == pytest.approx((1.01**36.5 - 1) * 100 / 2, rel=1e-12)


@pytest.mark.parametrize("days", [10, 12, 365])
@pytest.mark.parametrize("rate", ["0.001", "0.01", "0.1", "-0.001"])
def test_equal_days_have_no_deviation_though_amounts_have_eight_places(rate: str, days: int) -> None:
    equity, pnls = START, []
    for _ in range(days):
        pnls.append((equity * Decimal(rate)).quantize(Decimal("0.00000001")))
        equity += pnls[-1]
    returns = realised_returns(START, pnls)
    assert returns is not None
    assert deviation(returns) == 0
    assert sharpe(returns) is None


def test_days_without_any_return_have_no_ratio() -> None:
    assert (sharpe([0.0] * 30), sortino([0.0] * 30)) == (None, None)


def test_a_small_deviation_of_small_returns_counts() -> None:
    assert sharpe([1e-9, 2e-9] * 6) == pytest.approx(1.5 / statistics.stdev([1, 2] * 6) * math.sqrt(365))


def test_a_return_is_the_correctly_rounded_float64_quotient() -> None:
    assert realised_returns(START, [Decimal(10), Decimal("10.01")]) == [0.001, 0.001]
    assert realised_returns(Decimal(100), [Decimal(-100), Decimal(1)]) is None
    assert fraction(Decimal(1), Decimal(0)) is None


def test_drawdown_is_the_greatest_fall_from_the_peak_so_far() -> None:
    assert max_drawdown_pct(Decimal(100), [Decimal(100), Decimal(-50), Decimal(100), Decimal(-75)]) == 30.0
    assert max_drawdown_pct(Decimal(100), []) == 0.0
    assert max_drawdown_pct(Decimal(0), [Decimal(-1)]) is None


def test_calmar_needs_a_drawdown_and_remaining_capital() -> None:
    assert calmar(1.1, 20, 0.0) is None
    assert calmar(1.1, 20, None) is None
    assert calmar(0.0, 20, 100.0) is None
    assert calmar(1e300, 10, 1.0) is None


def test_displayed_values_have_six_places_and_are_finite() -> None:
    assert rounded(2 / 3) == 0.666667
    assert math.copysign(1, rounded(-1e-9) or 0.0) == 1
    assert (rounded(math.inf), rounded(math.nan), rounded(None)) == (None, None, None)
