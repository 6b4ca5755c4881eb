"""Preferences stored by this version and by other versions of the program."""

import pytest

from services.notifications.domain.kinds import (
    KIND_RULES,
    KINDS,
    Preference,
    Severity,
    preference_of,
    read_preferences,
)


@pytest.mark.parametrize("kind", KINDS)
def test_stored_preferences_are_read(kind: str) -> None:
    preference = Preference(channels=(), severity_floor="ERROR")
    assert read_preferences({kind: preference.model_dump(mode="json")}) == {kind: preference}


def test_preferences_of_a_newer_version_are_read_as_far_as_known() -> None:
    newer = {
        "SESSION_STARTED": {"channels": ["carrier_pigeon", "dashboard"], "severity_floor": "LOUD", "more": 1},
        "SESSION_STOPPED": {"channels": ["carrier_pigeon"], "severity_floor": "WARNING"},
        "ALERT_TRIGGERED": {"channels": "dashboard"},
        "WEATHER": {"channels": []},
        "TRADE_OPENED": None,
    }
    assert read_preferences(newer) == {
        "SESSION_STARTED": Preference(),
        "SESSION_STOPPED": Preference(channels=(), severity_floor="WARNING"),
        "ALERT_TRIGGERED": Preference(channels=()),
    }


def test_every_kind_has_a_category_and_a_default_and_trades_are_off() -> None:
    assert set(KIND_RULES) == set(KINDS)
    silent = {kind for kind in KINDS if not preference_of(kind, {}).accepts("CRITICAL", "dashboard")}
    assert silent == {"TRADE_OPENED", "TRADE_CLOSED"}


@pytest.mark.parametrize(("severity", "wanted"), [("INFO", False), ("WARNING", True), ("CRITICAL", True)])
def test_nothing_below_the_severity_floor_is_delivered(severity: Severity, wanted: bool) -> None:
    assert Preference(severity_floor="WARNING").accepts(severity, "dashboard") is wanted
