from decimal import Decimal

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.bars import Bar
from shared.strategy.indicators.recipes import KINDS, IndicatorSpec
from shared.strategy.series import Series
from tests.unit.strategy.scenes import HOUR, bars

SPECS = {
    "MACD": IndicatorSpec("MACD", fast=3, slow=6, signal=2),
    "STOCH": IndicatorSpec("STOCH", fastk=5, slowk=3, slowd=2),
    "OBV": IndicatorSpec("OBV"),
}


def spec_of(kind: str) -> IndicatorSpec:
    return SPECS.get(kind) or IndicatorSpec(kind, period=5)


def jumpy(count: int, seed: int) -> list[Bar]:
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        low, opened, close, high = sorted(int(each) for each in rng.integers(1, 400, 4))
        if rng.random() < 0.5:
            opened, close = close, opened
        prices = [Decimal(each) / 4 for each in (opened, high, low, close)]
        rows.append(Bar._make([index * HOUR, *prices, Decimal(int(rng.integers(0, 9)))]))
    return rows


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_values_updated_bar_by_bar_equal_those_from_the_anchor(kind: str, seed: int) -> None:
    rows, spec = jumpy(40, seed), spec_of(kind)
    whole, stepped = Series(rows).values(spec), Series()
    for index, bar in enumerate(rows):
        stepped.append(bar)
        for output, values in stepped.values(spec).items():
            assert len(values) == index + 1
            np.testing.assert_array_equal(values[index], whole[output][index])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_values_before_any_bar(kind: str) -> None:
    assert all(len(values) == 0 for values in Series().values(spec_of(kind)).values())
    assert Series().first_defined([spec_of(kind)]) is None


@pytest.mark.parametrize(
    ("kind", "first"),
    [("SMA", 4), ("RSI", 5), ("ATR", 5), ("ADX", 9), ("TEMA", 12), ("MACD", 6), ("STOCH", 7), ("OBV", 0)],
)
def test_the_first_defined_bar_is_where_all_outputs_are_defined(kind: str, first: int) -> None:
    assert Series(jumpy(30, 1)).first_defined([spec_of(kind)]) == first


def test_several_outputs_equal_those_of_talib() -> None:
    series = Series(jumpy(50, 3))
    upper, middle, lower = talib.BBANDS(series.column("close"), 5, 2.5, 2.5)
    bands = series.values(IndicatorSpec("BBANDS", period=5, deviations=Decimal("2.5")))
    for output, expected in (("upper", upper), ("middle", middle), ("lower", lower)):
        np.testing.assert_array_equal(bands[output], expected)


def test_highest_and_lowest_include_the_current_bar_and_read_high_and_low() -> None:
    series = Series(bars("5 9 1 5", "5 6 4 5", "5 7 3 5"))
    assert series.values(IndicatorSpec("HIGHEST", period=2))["value"].tolist()[1:] == [9, 7]
    assert series.values(IndicatorSpec("LOWEST", period=2))["value"].tolist()[1:] == [1, 3]


def test_candles_above_the_ema_are_counted_in_a_row() -> None:
    series = Series(bars("1", "1", "2", "3", "1", "5"))
    counted = series.values(IndicatorSpec("CANDLES_ABOVE_EMA", period=2))["value"]
    assert np.isnan(counted[0])
    assert counted[1:].tolist() == [0, 1, 2, 0, 1]


def test_the_distance_from_the_ema_is_a_percentage_of_it() -> None:
    series = Series(bars("1", "3"))
    assert series.values(IndicatorSpec("DISTANCE_FROM_EMA", period=2))["value"][1] == 50


def test_a_series_refuses_a_bar_that_does_not_come_after_the_last() -> None:
    series = Series(bars("1", "2"))
    with pytest.raises(ValueError, match="does not come after"):
        series.append(bars("1")[0])
