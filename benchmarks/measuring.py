"""Runs a measurement five times; median and spread."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RUNS = 5


@dataclass(frozen=True)
class Rate:
    """Units per second: the median of the runs. The spread is (max - min) in percent of the median."""

    per_s: float
    spread_pct: float


@dataclass(frozen=True)
class Figure:
    """Our rate and a peer's in the same run. `aim` is the lowest ratio that we want."""

    name: str
    unit: str
    ours: Rate
    peer: str
    theirs: Rate
    aim: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours.per_s / self.theirs.per_s


def measure_rate(units: int, run: Callable[[], object]) -> Rate:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return summarise([units / each for each in seconds])


async def measure_rate_async(
    units: int, run: Callable[[], Awaitable[object]], before: Callable[[], Awaitable[object]] | None = None
) -> Rate:
    """Time `run`; `before` prepares each run and is not timed."""
    seconds = []
    for _ in range(RUNS):
        if before is not None:
            await before()
        began = time.perf_counter()
        await run()
        seconds.append(time.perf_counter() - began)
    return summarise([units / each for each in seconds])


def summarise(rates: list[float]) -> Rate:
    middle = statistics.median(rates)
    return Rate(middle, 100 * (max(rates) - min(rates)) / middle)
