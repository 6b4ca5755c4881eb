"""A tenant is notified once of each cause while it holds."""

from datetime import UTC, datetime, timedelta

import pytest

from services.trading.custody.alarms import Alarm, causes_of, due_alarms
from services.trading.custody.judgement import Finding

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HEDGE = Finding("position_mode", "hedge mode is on")
GROWN = Finding("permissions", "the key may do more than trade")


def in_days(days: float) -> datetime:
    return NOW + timedelta(days=days)


def test_a_key_that_expires_is_reported_at_30_7_and_1_days_once_each() -> None:
    known: list[str] = []
    reported = []
    for hours_left in range(40 * 24, -24, -3):
        causes = causes_of([], NOW + timedelta(hours=hours_left), NOW)
        reported += [(alarm.reason, hours_left) for alarm in due_alarms(causes, known, [])]
        known = causes
    assert reported == [
        ("key_expires_in_30_days", 30 * 24),
        ("key_expires_in_7_days", 7 * 24),
        ("key_expires_in_1_days", 24),
        ("key_expired", 0),
    ]


def test_only_the_nearest_of_several_expiry_notices_is_sent() -> None:
    causes = causes_of([], in_days(0.5), NOW)
    assert due_alarms(causes, [], []) == [Alarm("key_expires_in_1_days")]


@pytest.mark.parametrize(("expires_at", "reason"), [(None, "key_rejected"), (in_days(-1), "key_expired")])
def test_a_rejected_key_is_reported_once_and_again_after_it_worked(
    expires_at: datetime | None, reason: str
) -> None:
    rejected = causes_of([], expires_at, NOW, is_rejected=True)
    assert due_alarms(rejected, [], []) == [Alarm(reason)]
    assert due_alarms(rejected, rejected, []) == []
    works = causes_of([], in_days(300), NOW)
    assert due_alarms(works, rejected, []) == []
    assert due_alarms(rejected, works, []) == [Alarm(reason)]


def test_a_new_permission_is_reported_by_name_and_not_twice_as_a_refusal() -> None:
    causes = causes_of([GROWN], None, NOW)
    assert due_alarms(causes, [], ["Wallet.Withdraw"]) == [Alarm("permissions_grew", ("Wallet.Withdraw",))]
    assert due_alarms(causes, causes, []) == []


def test_refused_fields_are_one_alarm_and_only_the_new_ones() -> None:
    before = causes_of([HEDGE], None, NOW)
    after = causes_of([HEDGE, Finding("fee_coin", "MNT"), Finding("margin_mode", "portfolio")], None, NOW)
    assert due_alarms(before, [], []) == [Alarm("account_refused", ("position_mode",))]
    assert due_alarms(after, before, []) == [Alarm("account_refused", ("fee_coin", "margin_mode"))]


def test_two_causes_at_once_are_two_alarms() -> None:
    causes = causes_of([HEDGE], in_days(6), NOW)
    assert {alarm.reason for alarm in due_alarms(causes, [], [])} == {"key_expires_in_7_days", "account_refused"}
