"""How many accounts a network may register, and how many of them begin with a trial.

A network is an IPv4 /24 or an IPv6 /48. Windows of an hour and a day begin with the first registration in them.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from services.auth.domain.networks import enclosing_network

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PREFIXES = {4: 24, 6: 48}


@dataclass(frozen=True)
class RegistrationLimits:
    """The limits of one network."""

    per_hour: int = 20
    per_day: int = 60
    trials_per_day: int = 5


@dataclass(frozen=True)
class RegistrationCount:
    """The registrations of one network in its current hour and day."""

    network: str
    hour_began: datetime
    in_hour: int
    day_began: datetime
    in_day: int
    trials_in_day: int


def provider_network(address: str | None) -> str:
    """Return the network of an address: wider than for failed attempts, as providers assign addresses in blocks."""
    return enclosing_network(address, PREFIXES)


def roll_windows(count: RegistrationCount, now: datetime) -> RegistrationCount:
    """Restart the windows that are over, and those that begin in the future because a clock went back."""
    if not timedelta() <= now - count.hour_began < HOUR:
        count = replace(count, hour_began=now, in_hour=0)
    if not timedelta() <= now - count.day_began < DAY:
        count = replace(count, day_began=now, in_day=0, trials_in_day=0)
    return count


def seconds_to_wait(count: RegistrationCount, limits: RegistrationLimits, now: datetime) -> int:
    """Return 0 if one more account may register. Call `roll_windows` first."""
    waits = [timedelta()]
    if count.in_hour >= limits.per_hour:
        waits.append(count.hour_began + HOUR - now)
    if count.in_day >= limits.per_day:
        waits.append(count.day_began + DAY - now)
    return ceil(max(waits) / timedelta(seconds=1))


def has_trial(count: RegistrationCount, limits: RegistrationLimits) -> bool:
    """Return whether the network's next account begins with a trial. Call `roll_windows` first."""
    return count.trials_in_day < limits.trials_per_day


def add_registration(count: RegistrationCount, *, trial: bool) -> RegistrationCount:
    return replace(
        count,
        in_hour=count.in_hour + 1,
        in_day=count.in_day + 1,
        trials_in_day=count.trials_in_day + trial,
    )
