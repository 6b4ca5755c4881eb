"""Logins that have ended are kept until their tokens have, and no longer; and never without bound."""

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


def test_one_is_kept_as_long_as_a_token_of_it_may_be_good() -> None:
    clock, login = Clock(), new_id()
    ended = EndedLogins(clock)
    ended.add(login, NOW)
    clock.now += LONGEST_ACCESS_TOKEN
    ended.add(new_id(), clock.now)
    assert login in ended
    clock.now = NOW + KEPT_FOR
    ended.add(new_id(), clock.now)
    assert login not in ended


def test_one_that_ended_long_ago_takes_no_room() -> None:
    ended = EndedLogins(Clock())
    ended.add(new_id(), NOW - KEPT_FOR)
    ended.add(new_id(), datetime(1, 1, 3, tzinfo=UTC) + KEPT_FOR)
    assert len(ended) == 0


def test_one_from_a_clock_ahead_is_kept_no_longer_than_others() -> None:
    clock, login = Clock(), new_id()
    ended = EndedLogins(clock)
    ended.add(login, datetime(9999, 12, 29, tzinfo=UTC))
    assert login in ended
    clock.now += KEPT_FOR
    ended.add(new_id(), clock.now)
    assert login not in ended


def test_where_there_is_no_room_the_one_that_ends_first_goes() -> None:
    clock, logins = Clock(), [new_id() for _ in range(4)]
    ended = EndedLogins(clock, most=3)
    for login in logins:
        clock.now += timedelta(seconds=1)
        ended.add(login, clock.now)
    assert [login in ended for login in logins] == [False, True, True, True]


def test_who_watches_is_told_once() -> None:
    told: list[UUID] = []
    ended, login = EndedLogins(Clock()), new_id()
    ended.watch(told.append)
    for _ in range(3):
        ended.add(login, NOW)
    assert told == [login]
