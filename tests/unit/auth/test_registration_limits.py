"""The number of accounts a network can register per hour and per day."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.auth.domain.networks import NOWHERE
from services.auth.domain.registrations import (
    RegistrationCount,
    RegistrationLimits,
    add_registration,
    has_trial,
    provider_network,
    roll_windows,
    seconds_to_wait,
)

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
NONE = RegistrationCount("192.0.2.0/24", NOW, 0, NOW, 0, 0)
ALLOWED = RegistrationLimits(per_hour=2, per_day=5, trials_per_day=1)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::7", "2001:db8:1::/48"),
        ("2001:db8:1:ffff::7", "2001:db8:1::/48"),
        (None, NOWHERE),
    ],
)
def test_addresses_of_a_network_are_counted_together(address: str | None, network: str) -> None:
    assert provider_network(address) == network


def test_the_hour_is_full_before_the_day() -> None:
    two = add_registration(add_registration(NONE, trial=True), trial=False)
    assert (two.in_hour, two.in_day, two.trials_in_day) == (2, 2, 1)
    assert seconds_to_wait(roll_windows(two, NOW), ALLOWED, NOW) == 3_600
    assert seconds_to_wait(roll_windows(two, NOW + timedelta(minutes=59, seconds=59.5)), ALLOWED, NOW) > 0
    later = NOW + timedelta(hours=1)
    assert seconds_to_wait(roll_windows(two, later), ALLOWED, later) == 0
    full = replace(two, in_day=5)
    assert seconds_to_wait(roll_windows(full, later), ALLOWED, later) == 23 * 3_600
    tomorrow = NOW + timedelta(days=1)
    assert seconds_to_wait(roll_windows(full, tomorrow), ALLOWED, tomorrow) == 0


def test_the_trials_of_a_day_are_limited() -> None:
    assert has_trial(NONE, ALLOWED)
    one = add_registration(NONE, trial=True)
    assert not has_trial(roll_windows(one, NOW + timedelta(hours=23)), ALLOWED)
    assert has_trial(roll_windows(one, NOW + timedelta(days=1)), ALLOWED)


def test_a_clock_that_went_back_locks_nobody_out() -> None:
    full = replace(NONE, in_hour=99, in_day=99)
    earlier = NOW - timedelta(hours=2)
    assert seconds_to_wait(roll_windows(full, earlier), ALLOWED, earlier) == 0
