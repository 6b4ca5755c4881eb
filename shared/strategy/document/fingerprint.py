"""The fingerprint: one string that is the same wherever the same fills happened."""

import hashlib
from collections.abc import Iterable

from shared.contracts.types import decimal_text
from shared.strategy.execution.outcome import Fill


def fingerprint(fills: Iterable[Fill]) -> str:
    """SHA-256 of a line `time_ms,action,side,qty,price,reason` per fill, in their order."""
    lines = [
        f"{time_ms},{action},{side},{decimal_text(qty)},{decimal_text(price)},{reason}\n"
        for time_ms, action, side, qty, price, _, reason in fills
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
