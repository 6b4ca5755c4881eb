"""The fingerprint: one string that is the same wherever the same fills happened."""

import hashlib
from collections.abc import Iterable

from shared.contracts.types import decimal_text
from shared.strategy.outcome import Fill


def fingerprint(fills: Iterable[Fill]) -> str:
    """SHA-256 of a line `time_ms,action,side,qty,price,reason` per fill, in their order."""
    digest = hashlib.sha256()
    for fill in fills:
        qty, price = decimal_text(fill.qty), decimal_text(fill.price)
        digest.update(f"{fill.time_ms},{fill.action},{fill.side},{qty},{price},{fill.reason}\n".encode())
    return digest.hexdigest()
