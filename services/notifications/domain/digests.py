"""Collapses notices into a digest when more than `MAX_SINGLE_PER_MINUTE` of a kind fall into one minute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.notifications.domain.kinds import Kind, Severity, more_severe
from services.notifications.domain.notices import Notice
from shared.contracts.types import new_id

MAX_SINGLE_PER_MINUTE = 20

# User, kind and minute. The minute is that of publication, so that the key depends neither on when an event is
# consumed nor on how events are batched.
MinuteKey = tuple[int, Kind, datetime]


@dataclass(frozen=True)
class Minute:
    """Notices of one user, kind and minute: how many in all, and the counts of those in the digest."""

    count: int = 0
    digest_id: UUID | None = None
    digested: Mapping[str, int] = field(default_factory=dict)
    severity: Severity = "INFO"

    def with_digested(self, notice: Notice) -> "Minute":
        counts = {**self.digested, notice.counted_as: self.digested.get(notice.counted_as, 0) + 1}
        severity = more_severe(self.severity, notice.severity)
        return Minute(self.count + 1, self.digest_id or new_id(), counts, severity)


@dataclass(frozen=True)
class NoticeSplit:
    """`single` get a notification each; `minutes` is the state after all of these notices."""

    single: Sequence[Notice]
    digested: Sequence[Notice]
    minutes: Mapping[MinuteKey, Minute]


def minute_of(notice: Notice) -> MinuteKey:
    return notice.user_id, notice.kind, notice.published_at.replace(second=0, microsecond=0)


def split_notices(notices: Sequence[Notice], known: Mapping[MinuteKey, Minute]) -> NoticeSplit:
    """Split notices, in their order. `known` has the minutes as stored before."""
    minutes: dict[MinuteKey, Minute] = {}
    single: list[Notice] = []
    digested: list[Notice] = []
    for notice in notices:
        key = minute_of(notice)
        minute = minutes.get(key) or known.get(key) or Minute()
        if minute.count < MAX_SINGLE_PER_MINUTE:
            single.append(notice)
            minutes[key] = replace(minute, count=minute.count + 1)
        else:
            digested.append(notice)
            minutes[key] = minute.with_digested(notice)
    return NoticeSplit(single, digested, minutes)
