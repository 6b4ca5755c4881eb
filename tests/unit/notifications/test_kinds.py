"""Preferences as they are read: by this program, from what another may have written."""

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
def test_what_was_written_is_read(kind: str) -> None:
    said = Preference(channels=(), severity_floor="ERROR")
    assert read_preferences({kind: said.model_dump(mode="json")}) == {kind: said}


def test_what_a_newer_program_wrote_does_not_stop_an_older_one() -> None:
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
def test_nothing_below_the_floor_is_told(severity: Severity, wanted: bool) -> None:
    assert Preference(severity_floor="WARNING").accepts(severity, "dashboard") is wanted
