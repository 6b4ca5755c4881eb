"""Five runs, their median and spread."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RUNS = 5


@dataclass(frozen=True)
class Figure:
    """Units per second; the peer's likewise."""

    name: str
    unit: str
    ours: float
    spread_pct: float
    peer: str
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def rate(units: int, run: Callable[[], object]) -> tuple[float, float]:
    """Median units per second, and the spread of the runs in percent of it."""
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return _summed(units, seconds)


async def rate_async(units: int, run: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        await run()
        seconds.append(time.perf_counter() - began)
    return _summed(units, seconds)


def _summed(units: int, seconds: list[float]) -> tuple[float, float]:
    middle = statistics.median(seconds)
    return units / middle, 100 * (max(seconds) - min(seconds)) / middle
