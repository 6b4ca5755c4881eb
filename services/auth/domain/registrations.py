"""How many accounts a network may make, and how many of them begin with a trial.

Counted by windows that begin with the first registration in them: of an IPv4 /24, of an IPv6 /48.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from math import ceil

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOWHERE = "0.0.0.0/32"  # of all who have no address
PREFIXES = {4: 24, 6: 48}


@dataclass(frozen=True)
class Allowed:
    """What one network may register."""

    an_hour: int = 20
    a_day: int = 60
    trials_a_day: int = 5


@dataclass(frozen=True)
class Registered:
    """What one network has registered in its running hour and day."""

    network: str
    hour_began: datetime
    in_hour: int
    day_began: datetime
    in_day: int
    trials_in_day: int


def provider_of(address: str | None) -> str:
    """The network that an address is counted with: wider than for failed attempts, as addresses come in blocks."""
    if address is None:
        return NOWHERE
    parsed = ip_address(address)
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ip_network((parsed, PREFIXES[parsed.version]), strict=False))


def as_of(registered: Registered, now: datetime) -> Registered:
    """With new windows for those that are over; a window that lies ahead (a clock went back) is begun anew too."""
    if not timedelta() <= now - registered.hour_began < HOUR:
        registered = replace(registered, hour_began=now, in_hour=0)
    if not timedelta() <= now - registered.day_began < DAY:
        registered = replace(registered, day_began=now, in_day=0, trials_in_day=0)
    return registered


def seconds_to_wait(registered: Registered, allowed: Allowed, now: datetime) -> int:
    """0 where one more may register; `registered` as of now."""
    waits = [timedelta()]
    if registered.in_hour >= allowed.an_hour:
        waits.append(registered.hour_began + HOUR - now)
    if registered.in_day >= allowed.a_day:
        waits.append(registered.day_began + DAY - now)
    return ceil(max(waits) / timedelta(seconds=1))


def has_trial(registered: Registered, allowed: Allowed) -> bool:
    """Whether the next account of this network begins with a trial; `registered` as of now."""
    return registered.trials_in_day < allowed.trials_a_day


def with_one_more(registered: Registered, *, trial: bool) -> Registered:
    return replace(
        registered,
        in_hour=registered.in_hour + 1,
        in_day=registered.in_day + 1,
        trials_in_day=registered.trials_in_day + trial,
    )
