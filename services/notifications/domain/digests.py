"""What is too much of a kind within a minute is counted and not told one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.notifications.domain.kinds import Kind, Severity, graver
from services.notifications.domain.notices import Notice
from shared.contracts.types import new_id

SINGLY_IN_A_MINUTE = 20

# Of one person and kind, by the time at which it was said: the same whenever it is heard, and in whatever batches.
MinuteKey = tuple[int, Kind, datetime]


@dataclass(frozen=True)
class Minute:
    """How much was told, of that what is `digested` in the one digest."""

    told: int = 0
    digest_id: UUID | None = None
    digested: Mapping[str, int] = field(default_factory=dict)
    severity: Severity = "INFO"

    def with_one_more(self, notice: Notice) -> "Minute":
        counts = {**self.digested, notice.counted_as: self.digested.get(notice.counted_as, 0) + 1}
        severity = graver(self.severity, notice.severity)
        return Minute(self.told + 1, self.digest_id or new_id(), counts, severity)


@dataclass(frozen=True)
class Shares:
    """`singly` stand by themselves; `minutes` are as they are after all of these."""

    singly: Sequence[Notice]
    digested: Sequence[Notice]
    minutes: Mapping[MinuteKey, Minute]


def minute_of(notice: Notice) -> MinuteKey:
    return notice.user_id, notice.kind, notice.said_at.replace(second=0, microsecond=0)


def share_out(notices: Sequence[Notice], known: Mapping[MinuteKey, Minute]) -> Shares:
    """In their order; `known` is how far the minutes had come."""
    minutes: dict[MinuteKey, Minute] = {}
    singly: list[Notice] = []
    digested: list[Notice] = []
    for notice in notices:
        key = minute_of(notice)
        minute = minutes.get(key) or known.get(key) or Minute()
        if minute.told < SINGLY_IN_A_MINUTE:
            singly.append(notice)
            minutes[key] = replace(minute, told=minute.told + 1)
        else:
            digested.append(notice)
            minutes[key] = minute.with_one_more(notice)
    return Shares(singly, digested, minutes)
