"""The fingerprint of a run: equal for runs with the same fills."""

import hashlib
from collections.abc import Iterable

from shared.contracts.types import decimal_text
from shared.strategy.execution.outcome import Fill


class FillHash:
    """The SHA-256 over a line `time_ms,action,side,qty,price,reason` per fill, in order. Never changed."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def extended(self, fills: Iterable[Fill]) -> "FillHash":
        """Return the hash of these fills too, without hashing the earlier ones again."""
        lines = [
            f"{time_ms},{action},{side},{decimal_text(qty)},{decimal_text(price)},{reason}\n"
            for time_ms, action, side, qty, price, _, reason in fills
        ]
        longer = FillHash()
        longer._sha256 = self._sha256.copy()
        longer._sha256.update("".join(lines).encode())
        return longer

    @property
    def fingerprint(self) -> str:
        return self._sha256.hexdigest()


def fingerprint(fills: Iterable[Fill]) -> str:
    return FillHash().extended(fills).fingerprint
