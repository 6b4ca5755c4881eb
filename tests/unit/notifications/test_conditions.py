"""The condition of each type of alert, and where it fires."""

import pytest

from services.notifications.domain.conditions import AlertType, ConditionFault, compile_alert, normalise_condition
from shared.strategy.bars import Bar
from shared.strategy.conditions.rising_edge import find_rising_edges
from shared.strategy.series import Series
from tests.unit.analytics.facts import wavy_bars
from tests.unit.notifications.plain import BREAKOUT, breaks_out, crosses, heavy, price_above, series_of

Data = dict[str, object]


def fired(alert_type: AlertType, data: Data, series: Series) -> list[int]:
    alert = compile_alert(alert_type, data)
    return find_rising_edges(alert.condition, series, 0, len(series))


def test_a_price_alert_fires_once_when_the_price_rises_above() -> None:
    series = series_of("9", "10", "11", "12", "9", "11")
    assert fired("PRICE", {"op": "above", "value": "10"}, series) == [2, 5]


def test_a_price_below_at_the_first_bar_fires_there() -> None:
    assert fired("PRICE", {"op": "below", "value": "10"}, series_of("9", "8", "11", "9")) == [0, 3]


def test_a_crossing_needs_a_bar_before() -> None:
    series = series_of("11", "9", "11", "11", "10", "9")
    assert fired("PRICE", {"op": "crosses_above", "value": 10}, series) == [2]
    assert fired("PRICE", {"op": "crosses_below", "value": 10}, series) == [1, 5]


def test_averages_cross() -> None:
    series = series_of(*["10"] * 6, *["5"] * 6, *["20"] * 6)
    assert fired("EMA_CROSS", {"fast": 2, "slow": 5, "direction": "above"}, series) == [12]
    assert fired("EMA_CROSS", {"fast": 2, "slow": 5, "direction": "below"}, series) == [6]


def test_a_volume_is_compared_with_the_mean_of_the_bars_before() -> None:
    series = series_of(*["10"] * 9, volumes=(1, 1, 1, 1, 9, 1, 1, 1, 9))
    assert fired("VOLUME", {"period": 4, "multiple": "2"}, series) == [4, 8]
    assert fired("VOLUME", {"period": 2, "multiple": 3}, series) == [4, 8]


def test_a_volume_is_compared_with_a_number() -> None:
    assert fired("VOLUME", {"above": "5"}, series_of("1", "1", "1", volumes=(1, 6, 7))) == [1]


def test_a_custom_alert_uses_the_grammar_of_strategies() -> None:
    data: Data = {
        "indicators": {"mean": {"type": "SMA", "period": 2}},
        "condition": {"left": "close", "op": ">", "right": "mean"},
    }
    assert fired("CUSTOM", data, series_of("1", "2", "3", "1", "2")) == [1, 4]


@pytest.mark.parametrize("seed", range(5))
def test_every_type_fires_where_a_plain_computation_does(seed: int) -> None:
    bars: list[Bar] = wavy_bars(400, seed)
    series = Series(bars)
    value = str(bars[200].close)
    found = {
        "price": fired("PRICE", {"op": "above", "value": value}, series),
        "cross": fired("EMA_CROSS", {"fast": 5, "slow": 13, "direction": "above"}, series),
        "volume": fired("VOLUME", {"period": 10, "multiple": "2"}, series),
        "custom": fired("CUSTOM", BREAKOUT, series),
    }
    assert found == {
        "price": price_above(bars, value),
        "cross": crosses(bars, 5, 13),
        "volume": heavy(bars, 10, 2),
        "custom": breaks_out(bars, 12),
    }
    assert all(found.values())


@pytest.mark.parametrize(
    ("alert_type", "data", "path"),
    [
        ("PRICE", {"op": "near", "value": "1"}, ".op"),
        ("PRICE", {"op": "above"}, ".value"),
        ("PRICE", {"op": "above", "value": "1_000"}, ".value"),
        ("PRICE", {"op": "above", "value": True}, ".value"),
        ("PRICE", {"op": "above", "value": "0"}, ".value"),
        ("PRICE", {"op": "above", "value": "close"}, ".value"),
        ("PRICE", {"op": "above", "value": 10**20}, ".value"),
        ("PRICE", {"op": "above", "value": "1", "more": 1}, ".more"),
        ("EMA_CROSS", {"fast": 1, "slow": 5, "direction": "above"}, ".fast"),
        ("EMA_CROSS", {"fast": "2", "slow": 5, "direction": "above"}, ".fast"),
        ("EMA_CROSS", {"fast": 2, "slow": 501, "direction": "above"}, ".slow"),
        ("EMA_CROSS", {"fast": 5, "slow": 5, "direction": "above"}, ""),
        ("VOLUME", {}, ""),
        ("VOLUME", {"above": "1", "period": 3, "multiple": "2"}, ""),
        ("VOLUME", {"period": 3}, ""),
        ("VOLUME", {"period": 3, "multiple": "-2"}, ".multiple"),
        ("CUSTOM", {"condition": {"left": "nope", "op": ">", "right": 1}}, ".condition.left"),
        ("CUSTOM", {}, ".condition"),
    ],
)
def test_a_fault_is_named_by_its_path(alert_type: AlertType, data: Data, path: str) -> None:
    with pytest.raises(ConditionFault) as caught:
        normalise_condition(alert_type, data)
    assert [found for found, _ in caught.value.faults] == [path]


def test_conditions_are_stored_in_one_normal_form() -> None:
    assert normalise_condition("PRICE", {"op": "above", "value": 64000}) == {"op": "above", "value": "64000"}
    assert normalise_condition("PRICE", {"op": "above", "value": "64000.50"}) == {"op": "above", "value": "64000.5"}
    assert normalise_condition("VOLUME", {"period": 4, "multiple": 2}) == {"period": 4, "multiple": "2"}
    assert normalise_condition("CUSTOM", BREAKOUT) == BREAKOUT
