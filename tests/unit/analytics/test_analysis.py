"""The analysis of a closed candle: indicator values and trend."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import numpy as np
import pytest
import talib

from services.analytics.domain.analysis import SeriesAnalysis, analyse_candle, decimal_of, trend
from services.analytics.domain.analysis_ids import analysis_id, candle_time_of
from services.analytics.routes.views import round_amount
from shared.strategy.bars import Bar
from shared.strategy.series import Series
from tests.unit.analytics.facts import INTERVAL, wavy_bars


def test_values_equal_those_of_talib_from_the_anchor() -> None:
    bars = wavy_bars(80)
    series = Series(bars)
    emas = talib.EMA(np.array([str(bar.close) for bar in bars], dtype=np.float64), 20)
    results = [analyse_candle(series, index, 20) for index in range(len(bars))]
    assert [result.ema_value for result in results] == [decimal_of(ema.item()) for ema in emas]
    assert [result.bar for result in results] == bars
    undefined = {(result.ema_value, result.trend_direction, result.candles_above_ema) for result in results[:19]}
    assert undefined == {(None, None, None)}
    above = 0
    for result in results[19:]:
        assert result.ema_value is not None
        above = above + 1 if result.bar.close > result.ema_value else 0
        assert result.candles_above_ema == above


def test_an_analysis_does_not_change_when_the_series_grows() -> None:
    bars = wavy_bars(60)
    grown = Series(bars)
    assert [analyse_candle(Series(bars[: index + 1]), index, 5) for index in range(60)] == [
        analyse_candle(grown, index, 5) for index in range(60)
    ]


@pytest.mark.parametrize(
    ("price", "ema", "before", "expected"),
    [
        (11.0, 10.0, 9.0, "UP"),
        (8.0, 9.0, 10.0, "DOWN"),
        (11.0, 9.0, 10.0, "FLAT"),
        (8.0, 10.0, 9.0, "FLAT"),
        (10.0, 10.0, 9.0, "FLAT"),
        (11.0, 10.0, 10.0, "FLAT"),
        (93.15, 93.14999999999998, 90.0, "FLAT"),
        (95.0, 93.15, 93.14999999999998, "FLAT"),
    ],
)
def test_the_trend_is_up_above_a_rising_and_down_below_a_falling_average(
    price: float, ema: float, before: float, expected: str
) -> None:
    assert trend(price, ema, before) == expected


def test_a_market_that_does_not_move_is_flat_and_at_its_average() -> None:
    price = Decimal("93.15")
    series = Series([Bar(index * 60_000, price, price, price, price, Decimal(0)) for index in range(120)])
    results = [analyse_candle(series, index, 21) for index in range(30, 120)]
    assert {result.trend_direction for result in results} == {"FLAT"}
    assert {result.candles_above_ema for result in results} == {0}
    assert {result.distance_from_ema for result in results} == {Decimal(0)}


def test_without_an_average_there_is_no_trend() -> None:
    assert trend(1.0, math.nan, math.nan) is None
    assert trend(1.0, 1.0, math.nan) is None


@pytest.mark.parametrize("value", [0.1 + 0.2, 1.2345678901234567e-05, 96123.123456789, 1e22, 0.0])
def test_a_value_is_stored_to_its_last_digit_and_shown_to_eighteen_places(value: float) -> None:
    stored = decimal_of(value)
    assert stored is not None
    assert stored.__float__() == value
    shown = round_amount(stored)
    assert shown is not None
    assert abs(shown - stored) <= Decimal("0.5e-18")
    assert decimal_of(float("nan")) is decimal_of(float("inf")) is None


def test_an_id_contains_its_time_and_is_different_for_each_watch() -> None:
    moment, watches = datetime(2026, 1, 31, 9, 30, 0, 123_000, UTC), [uuid4() for _ in range(50)]
    ids = [analysis_id(watch, moment) for watch in watches]
    assert {candle_time_of(one) for one in ids} == {moment}
    assert len(set(ids)) == 50
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert analysis_id(watches[0], moment) == ids[0]
    assert analysis_id(watches[0], moment + timedelta(milliseconds=1)) > ids[0]
    assert candle_time_of(UUID(int=2**128 - 1)) is None


def test_a_watch_has_missed_the_bars_that_closed_after_its_last_one() -> None:
    bars = wavy_bars(10)
    analysis = SeriesAnalysis("x", "BTCUSDT", INTERVAL, Series(bars))
    begun = bars[4].open_time + timedelta(minutes=1)  # bar 4 closes after it
    assert analysis.select_missing(range(10), begun, None) == range(4, 10)
    assert analysis.select_missing(range(10), begun, bars[6].open_time) == range(7, 10)
    assert not analysis.select_missing(range(10), bars[9].open_time + timedelta(days=1), None)
