"""Logins that have ended are kept until their tokens have expired, up to a maximum number."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.chassis.ended_logins import KEPT_FOR, LONGEST_ACCESS_TOKEN, EndedLogins
from shared.contracts.types import new_id

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def test_a_login_is_kept_as_long_as_its_tokens_can_be_valid() -> None:
    clock, login = Clock(), new_id()
    ended = EndedLogins(clock)
    ended.add(login, NOW)
    clock.now += LONGEST_ACCESS_TOKEN
    ended.add(new_id(), clock.now)
    assert login in ended
    clock.now = NOW + KEPT_FOR
    ended.add(new_id(), clock.now)
    assert login not in ended


def test_a_login_that_ended_long_ago_is_not_kept() -> None:
    ended = EndedLogins(Clock())
    ended.add(new_id(), NOW - KEPT_FOR)
    ended.add(new_id(), datetime(1, 1, 3, tzinfo=UTC) + KEPT_FOR)
    assert len(ended) == 0


def test_a_login_from_a_clock_ahead_is_kept_no_longer_than_others() -> None:
    clock, login = Clock(), new_id()
    ended = EndedLogins(clock)
    ended.add(login, datetime(9999, 12, 29, tzinfo=UTC))
    assert login in ended
    clock.now += KEPT_FOR
    ended.add(new_id(), clock.now)
    assert login not in ended


def test_when_full_the_login_that_ended_first_is_removed() -> None:
    clock, logins = Clock(), [new_id() for _ in range(4)]
    ended = EndedLogins(clock, most=3)
    for login in logins:
        clock.now += timedelta(seconds=1)
        ended.add(login, clock.now)
    assert [login in ended for login in logins] == [False, True, True, True]


def test_a_watcher_is_notified_once() -> None:
    notified: list[UUID] = []
    ended, login = EndedLogins(Clock()), new_id()
    ended.watch(notified.append)
    for _ in range(3):
        ended.add(login, NOW)
    assert notified == [login]
