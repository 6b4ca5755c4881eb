"""Backoff after failed attempts: the wait doubles from one second up to a quarter of an hour.

There are three kinds of counter; each is reset after an hour without an attempt:

- per account (the hash of the e-mail, whether or not it has an account): one counter for all unknown networks
  together, and one for each network from which the account's password was given before. Strangers can therefore
  lock out strangers, but not the owner on a known network.
- per network (an IPv4 address, an IPv6 /64): every failure from there.
- per network: invalid refresh tokens. A valid token is accepted whatever this counter says.

An attempt is counted when it begins, so that concurrent attempts cannot bypass the limit. A right password clears
the account's counter but takes only this attempt off the network's counter: otherwise an attacker could clear it by
logging in to an account of their own.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from services.auth.domain.networks import enclosing_network

FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(minutes=15)
COUNTER_TTL = timedelta(hours=1)
KNOWN_NETWORK_TTL = timedelta(days=90)
MAX_KNOWN_NETWORKS = 50
MAX_COUNTERS = 200_000

# Counters are locked in the order of these prefixes, so that attempts cannot deadlock.
ACCOUNT, NETWORK, REFRESHES = b"\x01", b"\x02", b"\x03"
STRANGERS = "strangers"
PREFIXES = {4: 32, 6: 64}


@dataclass(frozen=True)
class FreeAttempts:
    """How many failures are free of a wait."""

    account: int = 10
    network: int = 100

    def for_counter(self, counter: bytes) -> int:
        return self.account if counter.startswith(ACCOUNT) else self.network


@dataclass(frozen=True)
class AttemptCount:
    """The value of a counter."""

    counter: bytes
    failures: int
    last_at: datetime


def network_of(address: str | None) -> str:
    """Return the network under which failures from an address are counted."""
    return enclosing_network(address, PREFIXES)


def account_counter(email_sha256: bytes, network: str, *, known: bool) -> bytes:
    return _counter(ACCOUNT, email_sha256 + (network if known else STRANGERS).encode())


def network_counter(network: str) -> bytes:
    return _counter(NETWORK, network.encode())


def refresh_counter(network: str) -> bytes:
    return _counter(REFRESHES, network.encode())


def _counter(kind: bytes, subject: bytes) -> bytes:
    return kind + hashlib.sha256(subject).digest()


def wait_after(failures: int, free: int) -> timedelta:
    """Return the wait until the next attempt: 1, 2, 4 … seconds after the free ones, at most LONGEST_WAIT."""
    if failures < free:
        return timedelta()
    doubled: int = 2 ** min(failures - free, 20)
    return min(FIRST_WAIT * doubled, LONGEST_WAIT)


def seconds_to_wait(count: AttemptCount, free: int, now: datetime) -> int:
    """Return 0 if an attempt may be made now."""
    wait = wait_after(count.failures, free)
    if not wait or is_expired(count, now):
        return 0
    return max(0, ceil((count.last_at + wait - now) / timedelta(seconds=1)))


def add_attempt(count: AttemptCount, now: datetime) -> AttemptCount:
    """Return the count with one more attempt; `last_at` never moves back, as clocks of instances differ."""
    before = 0 if is_expired(count, now) else count.failures
    return AttemptCount(count.counter, before + 1, max(now, count.last_at))


def is_expired(count: AttemptCount, now: datetime) -> bool:
    return now - count.last_at >= COUNTER_TTL
