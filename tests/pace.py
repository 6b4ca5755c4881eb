"""How much slower this machine is than the one the tests' time-outs were chosen on.

A test's time-out detects a hang; it does not measure speed. `PACE` scales it on slow machines. Time limits that are
promised to users are not scaled.
"""

import os
import time
from typing import Final

FACTOR = "TRADEFLEET_TEST_PACE"  # measured once per run and inherited by its processes, or set by the environment
ADDITIONS, EXPECTED_S = 2_000_000, 0.055  # half of what two cores of 2024 take: three processes share them
MOST = 8.0


def _measure() -> float:
    """Return the best of three measurements relative to two idle cores of 2024; at least 1."""
    best = EXPECTED_S * MOST
    for _ in range(3):
        began = time.perf_counter()
        total = 0
        for number in range(ADDITIONS):
            total += number
        best = min(best, time.perf_counter() - began)
    return max(1.0, best / EXPECTED_S)


PACE: Final = float(os.environ.setdefault(FACTOR, f"{_measure():.2f}"))


def patient(seconds: float) -> float:
    """Scale a time-out to this machine."""
    return seconds * PACE
