"""The fingerprint of a run: equal for runs with the same fills."""

import hashlib
from collections.abc import Iterable

from shared.contracts.types import decimal_text
from shared.strategy.execution.outcome import Fill


def fingerprint(fills: Iterable[Fill]) -> str:
    """Return the SHA-256 over a line `time_ms,action,side,qty,price,reason` per fill, in order."""
    lines = [
        f"{time_ms},{action},{side},{decimal_text(qty)},{decimal_text(price)},{reason}\n"
        for time_ms, action, side, qty, price, _, reason in fills
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
