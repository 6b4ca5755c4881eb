"""How much slower this machine is than the one the tests' time-outs were chosen on.

A test's time-out detects a hang; it does not measure speed. `PACE` scales it on slow machines. Time limits that are
promised to users are not scaled.

Some tests wait for a real minute, because what they prove lasts that long. In the suite they wait for seconds; if
`TRADEFLEET_TEST_FULL` is set, they take their time.
"""

import os
import time
from typing import Final

FACTOR = "TRADEFLEET_TEST_PACE"  # measured once per run and inherited by its processes, or set by the environment
FULL: Final = "TRADEFLEET_TEST_FULL" in os.environ
ADDITIONS, EXPECTED_S = 8_000_000, 0.22  # half of what a core of 2024 takes: three processes share two
MOST = 8.0


def _measure() -> float:
    """Return how many times as long as expected the additions take, from 2 to MOST. Fewer would measure a burst."""
    began = time.perf_counter()
    total = 0
    for number in range(ADDITIONS):
        total += number
    return min(MOST, max(2.0, (time.perf_counter() - began) / EXPECTED_S))


if FACTOR not in os.environ:
    os.environ[FACTOR] = f"{_measure():.2f}"
PACE: Final = float(os.environ[FACTOR])


def patient(seconds: float) -> float:
    """Scale a time-out to this machine."""
    return seconds * PACE
