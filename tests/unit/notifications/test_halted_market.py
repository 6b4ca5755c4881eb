"""A market that does not move fires no alerts: rounding errors are no signal."""

import random
from decimal import Decimal

import pytest

from services.notifications.domain.conditions import compile_alert
from shared.strategy.bars import Bar
from shared.strategy.conditions.rising_edge import as_threshold, find_rising_edges, find_threshold_edges
from shared.strategy.series import Series

MINUTE = 60_000
FALL = 60


def flat(index: int, price: Decimal, volume: Decimal) -> Bar:
    return Bar(index * MINUTE, price, price, price, price, volume)


def halted(seed: int) -> Series:
    rng, price, rows = random.Random(seed), 9315, []
    for index in range(FALL + 60):
        moves = index < FALL
        price += rng.randint(-40, 40) if moves else 0
        volume = Decimal(rng.randint(1, 10**6)) / 1000 if moves else Decimal(0)
        rows.append(flat(index, Decimal(price) / 100, volume))
    return Series(rows)


@pytest.mark.parametrize("seed", range(60))
def test_zero_volume_is_not_above_a_multiple_of_zero(seed: int) -> None:
    alert = compile_alert("VOLUME", {"period": 20, "multiple": "3"})
    assert find_rising_edges(alert.condition, halted(seed), FALL, FALL + 60) == []


def test_closes_of_one_price_do_not_cross_its_averages() -> None:
    price = Decimal("93.15")
    series = Series([flat(index, price, Decimal(1)) for index in range(300)])
    for direction in ("above", "below"):
        alert = compile_alert("EMA_CROSS", {"fast": 9, "slow": 21, "direction": direction})
        assert find_rising_edges(alert.condition, series, 0, 300) == []


def test_a_value_that_differs_by_rounding_equals_its_threshold() -> None:
    """Evaluated as thresholds together, as most alerts are."""
    indicators = {"mean": {"type": "EMA", "period": 7}}
    found = []
    for op in (">", "<", ">=", "=="):
        data = {"indicators": indicators, "condition": {"left": "mean", "op": op, "right": "93.15"}}
        threshold = as_threshold(compile_alert("CUSTOM", data).condition)
        assert threshold is not None
        series = Series([flat(index, Decimal("93.15"), Decimal(1)) for index in range(40)])
        found.append(find_threshold_edges([threshold], series, 0, 40))
    assert found == [[], [], [(0, 6)], [(0, 6)]]
