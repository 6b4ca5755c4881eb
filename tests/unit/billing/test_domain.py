"""The rules of plans, periods and usage."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain import (
    Change,
    Period,
    Subscription,
    ended_status,
    first_period,
    initial_change,
    is_due,
    month_containing,
    remaining,
)
from shared.contracts.billing import SubscriptionStatus
from shared.contracts.types import new_id

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def _subscription(status: SubscriptionStatus) -> Subscription:
    period = first_period(status, NOW)
    return Subscription(
        1, new_id(), 2, "PREMIUM", 1, status, NOW, period.end if status == "TRIAL" else None, period
    )


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        ("2026-01-31T09:30", "2026-01-31", "2026-02-28"),
        ("2026-02-28T09:29", "2026-01-31", "2026-02-28"),
        ("2026-02-28T09:30", "2026-02-28", "2026-03-31"),
        ("2027-01-31T09:29", "2026-12-31", "2027-01-31"),
    ],
)
def test_a_month_from_the_31st_ends_with_shorter_months(now: str, start: str, end: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    period = month_containing(NOW, moment)
    assert (period.start.date().isoformat(), period.end.date().isoformat()) == (start, end)


@given(MOMENTS, MOMENTS)
def test_a_time_is_in_its_month_and_months_are_contiguous(anchor: datetime, now: datetime) -> None:
    period = month_containing(anchor, now)
    assert now < anchor or period.start <= now < period.end
    assert month_containing(anchor, period.end).start == period.end


def test_a_trial_is_one_period_of_fourteen_days() -> None:
    assert first_period("TRIAL", NOW) == Period(NOW, NOW + timedelta(days=14))


def test_a_trial_is_given_once_per_person() -> None:
    assert initial_change(is_new_person=True, trial=True) == Change("PREMIUM", "TRIAL", "trial_started")
    assert initial_change(is_new_person=False, trial=True).plan == "FREE"
    assert initial_change(is_new_person=True, trial=False) == Change("FREE", "ACTIVE", "no_trial")


def test_a_trial_expires_at_its_end_and_is_cancelled_before() -> None:
    trial = _subscription("TRIAL")
    assert ended_status(trial, trial.period.end) == "EXPIRED"
    assert ended_status(trial, trial.period.end - timedelta(seconds=1)) == "CANCELLED"
    assert ended_status(_subscription("ACTIVE"), NOW + timedelta(days=99)) == "CANCELLED"


def test_a_period_is_over_at_its_end() -> None:
    active = _subscription("ACTIVE")
    assert is_due(active, active.period.end)
    assert not is_due(active, active.period.end - timedelta(microseconds=1))


def test_the_remaining_quota_is_never_negative() -> None:
    assert (remaining(10, 3), remaining(10, 12), remaining(None, 12)) == (7, 0, None)
