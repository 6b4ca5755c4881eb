"""Field types of alerts, and the checks of their values."""

import json
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from services.notifications.operations.alerts import DELIVERING_CHANNELS
from shared.chassis.http.json_body import as_stored
from shared.contracts.notifications import Channel
from shared.contracts.types import Instant
from shared.strategy.document.parse import MAX_DOCUMENT_BYTES

Cooldown = Annotated[int, Field(ge=0, le=31_536_000)]


# The same bounds as in the table: the extremes of the calendar cannot be read back from Postgres as times.
EARLIEST_EXPIRY = datetime(1970, 1, 1, tzinfo=UTC)
LATEST_EXPIRY = datetime(2200, 1, 1, tzinfo=UTC)


def _check_expiry(moment: datetime) -> datetime:
    if not EARLIEST_EXPIRY <= moment < LATEST_EXPIRY:
        raise ValueError(f"must be in {EARLIEST_EXPIRY.year} or later and before {LATEST_EXPIRY.year}")
    return moment


Expiry = Annotated[Instant, AfterValidator(_check_expiry)]


def require_delivering(channel: Channel) -> AfterValidator:
    """Refuse a channel that does not deliver yet, so that no user relies on it."""

    def check(requested: bool | None) -> bool | None:
        if requested and channel not in DELIVERING_CHANNELS:
            raise ValueError(f"alerts are not delivered by {channel} yet, only by {', '.join(DELIVERING_CHANNELS)}")
        return requested

    return AfterValidator(check)


def without_floats(condition: dict[str, object]) -> dict[str, object]:
    """Return the condition without floats. Raises ValueError if it is too large."""
    stored = as_stored(condition)
    if len(json.dumps(stored).encode()) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"must be at most {MAX_DOCUMENT_BYTES} bytes")
    return stored
