"""How much slower this machine is than the one on which the tests' time-outs were chosen.

A time-out says that something hangs, not how fast it is: on a slow machine it is longer by `PACE`. What must happen
within a time that is promised to users is not scaled.
"""

import os
import time
from typing import Final

FACTOR = "TRADEFLEET_TEST_PACE"  # measured once a run and inherited by its processes; or given
ADDITIONS, EXPECTED_S = 2_000_000, 0.08
MOST = 6.0


def _measured() -> float:
    """The best of three, against what two idle cores of 2024 take; no less than 1."""
    best = EXPECTED_S * MOST
    for _ in range(3):
        began = time.perf_counter()
        total = 0
        for number in range(ADDITIONS):
            total += number
        best = min(best, time.perf_counter() - began)
    return max(1.0, best / EXPECTED_S)


PACE: Final = float(os.environ.setdefault(FACTOR, f"{_measured():.2f}"))


def patient(seconds: float) -> float:
    """A time-out for this machine."""
    return seconds * PACE
