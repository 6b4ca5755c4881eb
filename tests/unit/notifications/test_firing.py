"""When an alert fires, and what it saw."""

from datetime import datetime, timedelta

import pytest

from services.notifications.domain.conditions import AlertType, compile_alert
from services.notifications.domain.firing import ClosedBar, Timing, firings
from shared.contracts.types import from_ms
from shared.strategy.series import Series
from tests.unit.notifications.plain import series_of

MINUTE = timedelta(minutes=1)
START = from_ms(0)
LONG_AGO = START - timedelta(days=1)
ABOVE_TEN = compile_alert("PRICE", {"op": "above", "value": "10"})
RESTLESS = series_of(*["9", "11"] * 5)  # above ten at every odd bar


def bars_of(series: Series, said_at: datetime | None = None) -> list[ClosedBar]:
    opened = [from_ms(bar.open_time_ms) for bar in series.bars]
    return [
        ClosedBar(index, time, time + MINUTE, series.bar(index).close, said_at) for index, time in enumerate(opened)
    ]


def fired(timing: Timing, bars: list[ClosedBar] | None = None) -> list[int]:
    return [one.bar.index for one in firings(ABOVE_TEN, timing, RESTLESS, bars or bars_of(RESTLESS))]


def timing(
    watched_from: datetime = LONG_AGO,
    expires_at: datetime | None = None,
    cooldown: timedelta = timedelta(0),
    last: datetime | None = None,
) -> Timing:
    return Timing(watched_from, expires_at, cooldown, last)


def test_without_conditions_on_time_it_fires_whenever_it_becomes_true() -> None:
    assert fired(timing()) == [1, 3, 5, 7, 9]


def test_a_cooldown_goes_by_the_closes_of_bars() -> None:
    assert fired(timing(cooldown=2 * MINUTE)) == [1, 3, 5, 7, 9]
    assert fired(timing(cooldown=3 * MINUTE)) == [1, 5, 9]
    assert fired(timing(cooldown=3 * MINUTE, last=START + 2 * MINUTE)) == [5, 9]


def test_a_bar_up_to_the_last_firing_fires_nothing_again() -> None:
    assert fired(timing(last=START + 6 * MINUTE)) == [7, 9]


def test_an_alert_fires_up_to_its_expiry() -> None:
    assert fired(timing(expires_at=START + 6 * MINUTE)) == [1, 3, 5]
    assert fired(timing(expires_at=START + 5 * MINUTE)) == [1, 3]


def test_what_was_said_before_it_watched_does_not_count() -> None:
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
def test_it_says_what_it_saw(alert_type: AlertType, data: dict[str, object], seen: str | None) -> None:
    series = series_of("7", "6", "5", "12.5", volumes=[1, 1, 1, 8])
    alert = compile_alert(alert_type, data)
    last = firings(alert, timing(), series, bars_of(series))[-1]
    assert last.value_seen == seen
