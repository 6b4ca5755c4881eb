"""The link id of an intent: deterministic, so that the exchange refuses a second order of the same intent."""

import base64
import hashlib
import re
from datetime import datetime
from uuid import UUID

from shared.contracts.types import to_ms

PREFIX = "tf"
_DIGITS = 30
_OURS = re.compile(rf"{PREFIX}[a-z2-7]{{{_DIGITS}}}")


def link_id(session_id: UUID, bar: datetime, leg: str, attempt: int) -> str:
    """Return 32 characters, within the exchange's 36: `tf` and 150 bits of a SHA-256 in base32."""
    digest = hashlib.sha256(f"{session_id}:{to_ms(bar)}:{leg}:{attempt}".encode()).digest()
    return PREFIX + base64.b32encode(digest).decode().lower()[:_DIGITS]


def is_ours(link: str) -> bool:
    """Return whether a link id has the form of those above."""
    return _OURS.fullmatch(link) is not None
