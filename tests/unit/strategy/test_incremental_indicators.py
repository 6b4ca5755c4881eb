"""Indicators updated bar by bar equal, bit for bit, those of TA-Lib from the anchor after the rules for markets
that do not move, however the series grows."""

import random
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.bars import Bar
from shared.strategy.indicators.recipes import CANDLE_FIELDS, KINDS, IndicatorSpec
from shared.strategy.series import Series
from shared.strategy.tolerance import Values
from tests.reference.indicators import Candles, above, apply_rules
from tests.reference.random_candles import recorded_slice
from tests.unit.strategy.scenes import HOUR

PERIODS = st.one_of(st.integers(2, 12), st.sampled_from([20, 30, 31, 50, 51, 60]))
SMOOTHINGS = st.integers(1, 6)


@st.composite
def specs(draw: st.DrawFn, kind: str = "") -> IndicatorSpec:
    """Specifications of every type with all their parameters."""
    kind = kind or draw(st.sampled_from(sorted(KINDS)))
    source = draw(st.sampled_from(CANDLE_FIELDS)) if KINDS[kind].source else None
    deviations = draw(st.decimals("0.1", "10", places=2)) if kind == "BBANDS" else None
    integers = {name: draw(PERIODS) for name in KINDS[kind].integers}
    if kind == "MACD":
        integers = {"fast": draw(PERIODS), "slow": draw(PERIODS), "signal": draw(SMOOTHINGS)}
        integers["slow"] += integers["fast"] * (integers["slow"] <= integers["fast"])
    if kind == "STOCH":
        integers = {"fastk": draw(st.integers(1, 14)), "slowk": draw(SMOOTHINGS), "slowd": draw(SMOOTHINGS)}
    return IndicatorSpec(kind, source=source, deviations=deviations, **integers)


@st.composite
def candles(draw: st.DrawFn) -> list[Bar]:
    """Jumps, steps and flat stretches at prices from tiny to huge, often without volume."""
    rng = random.Random(draw(st.integers(0, 10**9)))
    scale = Decimal(10) ** draw(st.sampled_from([-18, -7, 0, 0, 4, 18]))
    still, no_volume = draw(st.sampled_from([0.0, 0.1, 0.9, 1.0])), draw(st.sampled_from([0.0, 0.3, 1.0]))
    rows, price = [], Decimal(1000)
    for index in range(draw(st.integers(0, 170))):
        opened = price
        if rng.random() >= still:
            price = max(Decimal(1), price + Decimal(rng.randint(-400, 400)) / 7)
        spread = Decimal(rng.randint(0, 30)) / 3 if rng.random() >= still else Decimal(0)
        prices = [opened, max(opened, price) + spread, max(min(opened, price) - spread, Decimal(1)), price]
        volume = Decimal(0) if rng.random() < no_volume else Decimal(rng.randint(0, 10**6)) / 13
        rows.append(Bar._make([index * HOUR, *(each * scale for each in prices), volume]))
    return rows


def with_all(kind: str, period: int) -> IndicatorSpec:
    """A type with all periods equal, except where one must be below another."""
    integers: dict[str, int] = dict.fromkeys(KINDS[kind].integers, period)
    if kind == "MACD":
        integers["fast"] = period - 1
    return replace(IndicatorSpec(kind), **integers)  # type: ignore[arg-type]  # fields by their names


def of_talib(spec: IndicatorSpec, series: Series) -> list[Values]:
    """Values of TA-Lib, called as its documentation says and independently of the code under test."""
    high, low, close, volume = (series.column(name) for name in CANDLE_FIELDS[1:])
    if spec.type in ("CANDLES_ABOVE_EMA", "DISTANCE_FROM_EMA"):
        average = talib.EMA(close, spec.period)
        if spec.type == "DISTANCE_FROM_EMA":
            return [(close - average) / average * 100.0]
        return [np.array(_counts(close.tolist(), average.tolist()))]
    source = series.column(spec.source or "close")
    function = {"HIGHEST": "MAX", "LOWEST": "MIN"}.get(spec.type, spec.type)
    match spec.type:
        case "MACD":
            return list(talib.MACD(source, spec.fast, spec.slow, spec.signal))
        case "BBANDS":
            width = float(spec.deviations or 2)
            return list(talib.BBANDS(source, spec.period, width, width))
        case "STOCH":
            return list(talib.STOCH(high, low, close, spec.fastk, spec.slowk, slowd_period=spec.slowd))
        case "OBV":
            return [talib.OBV(close, volume)]
        case "MFI":
            return [talib.MFI(high, low, close, volume, spec.period)]
        case "ATR" | "ADX" | "CCI":
            return [getattr(talib, spec.type)(high, low, close, spec.period)]
    return [getattr(talib, function)(source, spec.period)]


def _counts(closes: list[float], averages: list[float]) -> list[float]:
    counted, count = [], 0.0
    for close, average in zip(closes, averages, strict=True):
        count = count + 1.0 if above(close, average) else 0.0
        counted.append(count if average == average else average)
    return counted


def grow(spec: IndicatorSpec, rows: list[Bar], steps: list[int]) -> Series:
    """Grow a series by these numbers of bars, reading its values after each step."""
    series, done = Series(), 0
    while done < len(rows):
        step = steps[done % len(steps)]
        series.extend(rows[done : done + step])
        done += step
        values = series.values(spec)
        assert {len(column) for column in values.values()} == {len(series)}
    return series


def assert_talibs(spec: IndicatorSpec, series: Series) -> None:
    with np.errstate(all="ignore"):
        expected = of_talib(spec, series)
    candles = Candles(*(series.column(name).tolist() for name in CANDLE_FIELDS))
    rule: dict[str, object] = {"type": spec.type, "period": spec.period, "source": spec.source}
    for output, column in zip(series.values(spec).values(), expected, strict=True):
        ruled = apply_rules(candles, rule, column.tolist())
        np.testing.assert_array_equal(output, ruled)  # NaN in the same places, everything else equal in every bit


STEPS = st.lists(st.sampled_from([1, 1, 1, 2, 3, 7, 40]), min_size=1, max_size=5)


@settings(max_examples=400, deadline=None)
@given(spec=specs(), rows=candles(), steps=STEPS)
def test_values_equal_those_of_talib_from_the_anchor(
    spec: IndicatorSpec, rows: list[Bar], steps: list[int]
) -> None:
    assert_talibs(spec, grow(spec, rows, steps))


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_each_type_bar_by_bar_from_the_first_bar(kind: str, data: st.DataObject) -> None:
    spec = data.draw(specs(kind))
    rows = data.draw(candles())
    assert_talibs(spec, grow(spec, rows, [1]))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_values_do_not_change_once_given(kind: str) -> None:
    spec = with_all(kind, 3)
    rng = random.Random(7)
    rows = [Bar._make([index * HOUR, *([Decimal(rng.randint(10, 99))] * 4), Decimal(1)]) for index in range(60)]
    series = Series(rows[:30])
    before = {output: column.copy() for output, column in series.values(spec).items()}
    earlier = series.values(spec)
    for bar in rows[30:]:
        series.append(bar)
        series.values(spec)
    for output, column in before.items():
        np.testing.assert_array_equal(earlier[output], column)
        np.testing.assert_array_equal(series.values(spec)[output][:30], column)


@settings(max_examples=60, deadline=None)
@given(spec=specs(), at=st.integers(0, 79), huge=st.sampled_from(["1E+200", "1E+308", "1E+400"]))
def test_values_equal_those_of_talib_where_floats_overflow(spec: IndicatorSpec, at: int, huge: str) -> None:
    rows = [Bar._make([index * HOUR, *([Decimal(100 + index % 7)] * 4), Decimal(3)]) for index in range(80)]
    rows[at] = Bar._make([at * HOUR, *([Decimal(huge)] * 4), Decimal(3)])
    with np.errstate(all="ignore"):
        assert_talibs(spec, grow(spec, rows, [1]))


@pytest.mark.beside_checkout
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_values_on_recorded_candles_with_long_periods(kind: str) -> None:
    _, bars = recorded_slice(random.Random(5), 1600)
    rows = [Bar(bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    spec = with_all(kind, 200)
    assert_talibs(spec, grow(spec, rows, [1, 1, 3]))
