"""Start times of local dates, and periods between them.

Where a clock goes back over midnight, a date begins, the previous date resumes for a while, and then the date
begins again: both dates consist of two spans of time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from services.analytics.domain.facts import local_date
from shared.contracts.types import EARLIEST, LATEST

ONE_DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
ALWAYS = (EARLIEST, LATEST + INSTANT)

Span = tuple[datetime, datetime]  # the end is exclusive


@dataclass(frozen=True)
class Cutoff:
    """Divides time into before and after. The span `turned_back` follows `moment` but belongs to before."""

    moment: datetime
    turned_back: Span | None = None

    @property
    def before(self) -> list[Span]:
        return [(ALWAYS[0], self.moment), *([self.turned_back] if self.turned_back else [])]

    @property
    def after(self) -> list[Span]:
        if self.turned_back is None:
            return [(self.moment, ALWAYS[1])]
        return [(self.moment, self.turned_back[0]), (self.turned_back[1], ALWAYS[1])]


@dataclass(frozen=True)
class LocalPeriod:
    """A period between two cutoffs; None where it is unbounded. The end is exclusive."""

    first: Cutoff | None = None
    last: Cutoff | None = None

    @cached_property
    def before(self) -> list[Span]:
        return self.first.before if self.first else []

    @cached_property
    def spans(self) -> list[Span]:
        """The spans of the period: one, or more if it begins or ends while a clock goes back over midnight."""
        begun = self.first.after if self.first else [ALWAYS]
        not_ended = self.last.before if self.last else [ALWAYS]
        common = [(max(a, c), min(b, d)) for a, b in begun for c, d in not_ended]
        return sorted(span for span in common if span[0] < span[1])

    @property
    def end(self) -> datetime:
        """The exclusive upper bound of all spans."""
        return self.last.before[-1][1] if self.last else ALWAYS[1]


def is_within(moment: datetime, spans: Sequence[Span]) -> bool:
    return any(begin <= moment < end for begin, end in spans)


def day_start(day: date, zone: ZoneInfo) -> Cutoff:
    """Return the cutoff between the local dates before `day` and the others."""
    midnight = datetime.combine(day, time.min, zone)
    first, second = midnight.astimezone(UTC), midnight.replace(fold=1).astimezone(UTC)
    if first == second:
        return Cutoff(first)
    changed = _clock_change(min(first, second), max(first, second), zone)
    if second < first:  # midnight is skipped
        return Cutoff(changed)
    return Cutoff(first, (changed, second) if changed < second else None)


def first_date(moment: datetime, zone: ZoneInfo) -> date:
    """Return the earliest local date at or after `moment`."""
    day = local_date(moment, zone)
    turned_back = day_start(day, zone).turned_back
    return day - ONE_DAY if turned_back and moment < turned_back[0] else day


def last_date(moment: datetime, zone: ZoneInfo) -> date:
    """Return the latest local date before `moment`."""
    day = local_date(moment - INSTANT, zone)
    return day + ONE_DAY if day_start(day + ONE_DAY, zone).moment < moment else day


def _clock_change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the time in (`low`, `high`] from which the zone has the offset that it has at `high`."""
    offset = high.astimezone(zone).utcoffset()
    while high - low > INSTANT:
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high
