"""Alerts as conditions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.notifications.domain import ConditionFault, Timing, became_true, compile_alert
from shared.strategy.bars import Bar
from shared.strategy.series import Series

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def series_of(*closes: str, volumes: tuple[int, ...] = ()) -> Series:
    series = Series()
    for number, close in enumerate(closes):
        price = Decimal(close)
        volume = Decimal(volumes[number] if volumes else 1)
        series.append(Bar(number * 60_000, price, price, price, price, volume))
    return series


def fired(alert_type: str, data: dict[str, object], series: Series) -> list[int]:
    alert = compile_alert(alert_type, data)  # type: ignore[arg-type]
    return [index for index in range(len(series)) if became_true(alert, series, index)]


def test_a_price_alert_says_once_that_the_price_is_above() -> None:
    series = series_of("9", "10", "11", "12", "9", "11")
    assert fired("PRICE", {"op": "above", "value": "10"}, series) == [2, 5]


def test_a_price_below_at_the_first_bar_is_said_there() -> None:
    assert fired("PRICE", {"op": "below", "value": "10"}, series_of("9", "8", "11", "9")) == [0, 3]


def test_a_crossing_needs_a_bar_before() -> None:
    assert fired("PRICE", {"op": "crosses_above", "value": "10"}, series_of("11", "9", "11")) == [2]


def test_averages_cross() -> None:
    closes = ["10"] * 6 + ["5"] * 6 + ["20"] * 6
    data: dict[str, object] = {"fast": 2, "slow": 5, "direction": "above"}
    assert fired("EMA_CROSS", data, series_of(*closes)) == [12]


def test_a_volume_is_compared_with_the_mean() -> None:
    series = series_of(*["10"] * 9, volumes=(1, 1, 1, 1, 9, 1, 1, 1, 9))
    assert fired("VOLUME", {"period": 4, "multiple": "2"}, series) == [4, 8]


def test_a_volume_is_compared_with_a_number() -> None:
    assert fired("VOLUME", {"above": "5"}, series_of("1", "1", "1", volumes=(1, 6, 7))) == [1]


def test_a_custom_alert_is_the_grammar_of_strategies() -> None:
    data: dict[str, object] = {
        "indicators": {"mean": {"type": "SMA", "period": 2}},
        "condition": {"left": "close", "op": ">", "right": "mean"},
    }
    assert fired("CUSTOM", data, series_of("1", "2", "3", "1", "2")) == [1, 4]


@pytest.mark.parametrize(
    ("alert_type", "data", "path"),
    [
        ("PRICE", {"op": "near", "value": "1"}, ".op"),
        ("PRICE", {"op": "above"}, ".value"),
        ("PRICE", {"op": "above", "value": "1_000"}, ".value"),
        ("PRICE", {"op": "above", "value": "1", "more": 1}, ".more"),
        ("EMA_CROSS", {"fast": 1, "slow": 5, "direction": "above"}, ".indicators.fast.period"),
        ("EMA_CROSS", {"fast": 2, "slow": 501, "direction": "above"}, ".indicators.slow.period"),
        ("VOLUME", {}, ""),
        ("VOLUME", {"above": "1", "period": 3, "multiple": "2"}, ""),
        ("CUSTOM", {"condition": {"left": "nope", "op": ">", "right": 1}}, ".condition.left"),
        ("CUSTOM", {}, ".condition"),
    ],
)
def test_a_fault_is_named_by_its_path(alert_type: str, data: dict[str, object], path: str) -> None:
    with pytest.raises(ConditionFault) as caught:
        compile_alert(alert_type, data)  # type: ignore[arg-type]
    assert any(found.startswith(path) for found, _ in caught.value.faults), caught.value.faults


def test_a_cooldown_and_an_expiry_go_by_the_bars_close() -> None:
    hour = timedelta(hours=1)
    assert Timing(None, hour, None).allows(NOON)
    assert not Timing(None, hour, NOON).allows(NOON + hour / 2)
    assert Timing(None, hour, NOON).allows(NOON + hour)
    assert Timing(NOON, hour, None).allows(NOON)
    assert not Timing(NOON, hour, None).allows(NOON + hour)
