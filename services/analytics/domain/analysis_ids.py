"""Ids of analyses, derived from candle time and watch, so that the id needs neither a column nor an index."""

import hashlib
from datetime import datetime
from uuid import UUID

from shared.contracts.types import from_ms, to_ms

_AFTER_TIME = 80  # bits
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999
_OTHER_BITS = (1 << _AFTER_TIME) - 1
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_FREE_BITS = _OTHER_BITS & ~(0xF << 76) & ~(0b11 << 62)


def analysis_id(watch_id: UUID, timestamp: datetime) -> UUID:
    """Return a UUIDv7 with the candle's time; its other bits are a hash of the watch."""
    hashed = int.from_bytes(hashlib.sha256(watch_id.bytes).digest()[:10])
    return UUID(int=to_ms(timestamp) << _AFTER_TIME | _VERSION_7 | _VARIANT | hashed & _FREE_BITS)


def candle_time_of(identity: UUID) -> datetime | None:
    """Return the candle time encoded in an id, or None if the id encodes no valid time."""
    milliseconds = identity.int >> _AFTER_TIME
    return from_ms(milliseconds) if milliseconds <= _LATEST_MS else None
