"""Decides what a tenant is notified of after a check, once for each cause. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.trading.custody.judgement import EXPIRY_DAYS, Finding

REASONS = (
    "key_rejected",
    "key_expired",
    *(f"key_expires_in_{days}_days" for days in EXPIRY_DAYS),
    "permissions_grew",
    "account_refused",
)
_REFUSED = "refused:"


@dataclass(frozen=True, slots=True)
class Alarm:
    """`details`: the names of the permissions, or the fields that were refused."""

    reason: str
    details: tuple[str, ...] = ()


def causes_of(
    refusals: Sequence[Finding], expires_at: datetime | None, now: datetime, *, is_rejected: bool = False
) -> list[str]:
    """Return the causes that hold now: they are stored, so that each is reported once while it holds."""
    left = None if expires_at is None else expires_at - now
    is_expired = left is not None and left <= timedelta(0)
    if is_rejected or is_expired:
        expiring = ["key_expired" if is_expired else "key_rejected"]
    else:
        expiring = [f"key_expires_in_{days}_days" for days in EXPIRY_DAYS if left and left <= timedelta(days=days)]
    fields = dict.fromkeys(finding.field for finding in refusals if finding.field != "key_expires_at")
    return [*expiring, *(f"{_REFUSED}{field}" for field in fields)]


def due_alarms(causes: Sequence[str], known: Collection[str], grown: Sequence[str]) -> list[Alarm]:
    """Return the alarms of causes that are not known yet: of several expiry notices the latest, of several refused
    fields one alarm. `grown`: the permissions that the key did not have before."""
    new = [cause for cause in causes if cause not in known]
    fields = tuple(cause.removeprefix(_REFUSED) for cause in new if cause.startswith(_REFUSED))
    if grown:
        fields = tuple(field for field in fields if field != "permissions")
    alarms = [Alarm(cause) for cause in new if not cause.startswith(_REFUSED)][-1:]
    alarms += [Alarm("permissions_grew", tuple(grown))] if grown else []
    alarms += [Alarm("account_refused", fields)] if fields else []
    return alarms
