"""Who fails again and again has to wait: slowed first, then refused for a quarter of an hour at a time.

Three counters, each of which forgets after an hour without another attempt:

- of an account (the hash of its e-mail, whether or not there is one), one for all strangers together and one for
  each network from which somebody with its password has come before. So strangers can lock out strangers; whoever
  comes from where he has been before has a counter of his own.
- of a network (an IPv4 address, an IPv6 /64), for whatever fails from there.
- of a network, for refresh tokens that are none. A valid one is taken whatever this counter says.

An attempt counts when it begins, so that many at once are no way around. A right password clears the account's
counter and takes the attempt itself off the network's: not more, or else an account of one's own would clear it.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from math import ceil

FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=1)
KNOWN_FOR = timedelta(days=90)
MOST_KNOWN_NETWORKS = 50
MOST_COUNTERS = 200_000

ACCOUNT, NETWORK, REFRESHES = b"\x01", b"\x02", b"\x03"  # counters are locked in this order
STRANGERS = "strangers"
NOWHERE = "0.0.0.0/32"  # of all who have no address


@dataclass(frozen=True)
class Free:
    """How many failures cost nothing yet."""

    account: int = 10
    network: int = 100

    def of(self, counter: bytes) -> int:
        return self.account if counter.startswith(ACCOUNT) else self.network


@dataclass(frozen=True)
class Count:
    """What a counter says."""

    counter: bytes
    failures: int
    last_at: datetime


def network_of(address: str | None) -> str:
    """Whom an address is counted with."""
    if address is None:
        return NOWHERE
    parsed = ip_address(address)
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ip_network((parsed, 32 if parsed.version == 4 else 64), strict=False))


def account_counter(email_sha256: bytes, network: str, *, known: bool) -> bytes:
    return _counter(ACCOUNT, email_sha256 + (network if known else STRANGERS).encode())


def network_counter(network: str) -> bytes:
    return _counter(NETWORK, network.encode())


def refresh_counter(network: str) -> bytes:
    return _counter(REFRESHES, network.encode())


def _counter(kind: bytes, what: bytes) -> bytes:
    return kind + hashlib.sha256(what).digest()


def wait_after(failures: int, free: int) -> timedelta:
    """Until the next attempt: 1, 2, 4 … seconds after those that are free, a quarter of an hour at most."""
    if failures < free:
        return timedelta()
    doubled: int = 2 ** min(failures - free, 20)
    return min(FIRST_WAIT * doubled, LONGEST_WAIT)


def seconds_to_wait(count: Count, free: int, now: datetime) -> int:
    """0 where an attempt may be made."""
    wait = wait_after(count.failures, free)
    if not wait or is_forgotten(count, now):
        return 0
    return max(0, ceil((count.last_at + wait - now) / timedelta(seconds=1)))


def counted(count: Count, now: datetime) -> Count:
    """With one attempt more."""
    before = 0 if is_forgotten(count, now) else count.failures
    return Count(count.counter, before + 1, max(now, count.last_at))


def is_forgotten(count: Count, now: datetime) -> bool:
    return now - count.last_at >= FORGOTTEN_AFTER
