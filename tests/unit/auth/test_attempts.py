"""How long to wait after a number of failures, and which clients share a counter."""

from datetime import UTC, datetime, timedelta

import pytest

from services.auth.domain.attempts import (
    COUNTER_TTL,
    LONGEST_WAIT,
    AttemptCount,
    FreeAttempts,
    account_counter,
    add_attempt,
    network_counter,
    network_of,
    seconds_to_wait,
    wait_after,
)

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
EMAIL = b"e" * 32


@pytest.mark.parametrize(
    ("failures", "seconds"), [(9, 0), (10, 1), (11, 2), (12, 4), (19, 512), (20, 900), (10**9, 900)]
)
def test_the_wait_doubles_up_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    assert wait_after(failures, 10) == timedelta(seconds=seconds)


def test_the_wait_is_given_in_whole_seconds_and_ends() -> None:
    count = AttemptCount(b"", 12, NOW)
    assert [seconds_to_wait(count, 10, NOW + timedelta(seconds=s)) for s in (0, 0.5, 3.9, 4)] == [4, 4, 1, 0]


def test_failures_expire_after_the_time_to_live() -> None:
    count = AttemptCount(b"", 50, NOW)
    assert COUNTER_TTL > LONGEST_WAIT
    assert add_attempt(count, NOW + COUNTER_TTL - timedelta(seconds=1)).failures == 51
    assert add_attempt(count, NOW + COUNTER_TTL) == AttemptCount(b"", 1, NOW + COUNTER_TTL)


def test_a_clock_behind_another_neither_shortens_nor_adds_a_wait() -> None:
    count = AttemptCount(b"", 5, NOW)
    assert add_attempt(count, NOW - timedelta(seconds=9)).last_at == NOW
    assert seconds_to_wait(count, 10, NOW - timedelta(seconds=9)) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        (None, "0.0.0.0/32"),
    ],
)
def test_addresses_of_a_network_share_a_counter(address: str | None, network: str) -> None:
    assert network_of(address) == network


def test_unknown_clients_share_a_counter_and_known_ones_have_their_own() -> None:
    here, there = "203.0.113.7/32", "198.51.100.1/32"
    assert account_counter(EMAIL, here, known=False) == account_counter(EMAIL, there, known=False)
    known = {account_counter(EMAIL, network, known=True) for network in (here, there)}
    assert len({*known, account_counter(EMAIL, here, known=False), network_counter(here)}) == 4


def test_a_network_has_more_free_attempts_than_an_account() -> None:
    free = FreeAttempts(account=3, network=7)
    assert free.for_counter(account_counter(EMAIL, "x", known=True)) == 3
    assert free.for_counter(network_counter("x")) == 7
