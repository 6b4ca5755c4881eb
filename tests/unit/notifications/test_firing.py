"""When an alert fires, and the value it reports."""

from datetime import datetime, timedelta

import pytest

from services.notifications.domain.condition_sets import CompiledConditions, ConditionPass
from services.notifications.domain.conditions import AlertType, ConditionFault
from services.notifications.domain.firing import ClosedBar, Repeat, Timing
from shared.contracts.types import from_ms
from shared.strategy.series import Series
from tests.unit.notifications.plain import series_of

MINUTE = timedelta(minutes=1)
START = from_ms(0)
LONG_AGO = START - timedelta(days=1)
ABOVE_TEN: tuple[AlertType, dict[str, object]] = ("PRICE", {"op": "above", "value": "10"})
RESTLESS = series_of(*["9", "11"] * 5)  # above ten at every odd bar


def bars_of(series: Series, published_at: datetime | None = None) -> list[ClosedBar]:
    opened = [from_ms(bar.open_time_ms) for bar in series.bars]
    return [
        ClosedBar(index, time, time + MINUTE, series.bar(index).close, published_at)
        for index, time in enumerate(opened)
    ]


def round_of(
    alert_type: AlertType, data: dict[str, object], series: Series, bars: list[ClosedBar] | None = None
) -> ConditionPass:
    """A pass over one condition, with the key `b"it"`."""
    conditions = CompiledConditions()
    conditions.compile(b"it", alert_type, data)
    return ConditionPass(conditions, series, bars or bars_of(series))


def fired(timing: Timing, bars: list[ClosedBar] | None = None) -> list[int]:
    return [one.bar.index for one in round_of(*ABOVE_TEN, RESTLESS, bars).firings(b"it", timing)]


def timing(
    watched_from: datetime = LONG_AGO,
    expires_at: datetime | None = None,
    cooldown: timedelta = timedelta(0),
    last: datetime | None = None,
    repeat: Repeat = "ALWAYS",
) -> Timing:
    return Timing(watched_from, expires_at, cooldown, last, repeat)


def test_without_timing_limits_an_alert_fires_whenever_it_becomes_true() -> None:
    assert fired(timing()) == [1, 3, 5, 7, 9]


def test_a_cooldown_is_measured_between_closes_of_bars() -> None:
    assert fired(timing(cooldown=2 * MINUTE)) == [1, 3, 5, 7, 9]
    assert fired(timing(cooldown=3 * MINUTE)) == [1, 5, 9]
    assert fired(timing(cooldown=3 * MINUTE, last=START + 2 * MINUTE)) == [5, 9]


def test_bars_up_to_the_last_firing_fire_nothing_again() -> None:
    assert fired(timing(last=START + 6 * MINUTE)) == [7, 9]


def test_an_alert_fires_up_to_its_expiry() -> None:
    assert fired(timing(expires_at=START + 6 * MINUTE)) == [1, 3, 5]
    assert fired(timing(expires_at=START + 5 * MINUTE)) == [1, 3]


def test_bars_published_before_the_alert_watched_do_not_count() -> None:
    made = START + timedelta(days=300)
    early, late = bars_of(RESTLESS, made - MINUTE), bars_of(RESTLESS, made + MINUTE)
    assert fired(timing(watched_from=made), early[:5] + late[5:]) == [5, 7, 9]


@pytest.mark.parametrize(
    ("alert_type", "data", "seen"),
    [
        ("PRICE", {"op": "crosses_above", "value": "10"}, "12.5"),
        ("VOLUME", {"above": "7"}, "8"),
        ("EMA_CROSS", {"fast": 2, "slow": 3, "direction": "above"}, "10.166666666666666"),
        (
            "CUSTOM",
            {"condition": {"left": {"ref": "close", "shift": 1, "mul": 2}, "op": ">", "right": 10}},
            "14",
        ),
        ("CUSTOM", {"condition": {"any": [{"left": "close", "op": ">", "right": 10}]}}, None),
    ],
)
def test_a_firing_contains_the_value_seen(alert_type: AlertType, data: dict[str, object], seen: str | None) -> None:
    series = series_of("7", "6", "5", "12.5", volumes=[1, 1, 1, 8])
    last = round_of(alert_type, data, series).firings(b"it", timing())[-1]
    assert last.value_seen == seen


def test_once_fires_only_at_the_first_allowed_time() -> None:
    assert fired(timing(repeat="ONCE")) == [1]
    assert fired(timing(repeat="ONCE", last=START + 4 * MINUTE)) == [5]


def test_a_bar_that_was_not_announced_fires_nothing() -> None:
    bars = bars_of(RESTLESS)
    assert fired(timing(), [bar for bar in bars if bar.index != 3]) == [1, 5, 7, 9]


def test_an_invalid_stored_condition_never_fires() -> None:
    conditions = CompiledConditions()
    with pytest.raises(ConditionFault):
        conditions.compile(b"old", "PRICE", {"op": "near"})
    bars = ConditionPass(conditions, RESTLESS, bars_of(RESTLESS))
    assert b"old" in conditions
    assert bars.came_true([b"old"]) == []
    assert bars.firings(b"old", timing()) == []
