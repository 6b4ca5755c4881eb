"""The platform at rest: the processor time of its processes, and the latency of the first event after the rest.

`python -m benchmarks.idle` prints the share of each process too.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import asyncpg
import psutil

from benchmarks.measuring import Figure, Rate
from stack.cleanup import remove_home
from stack.market import MadeUpMarket
from stack.stack import Stack, StackOptions

SETTLE_S = 15.0  # after the start
REST_S = 30.0
EVENTS = 8
BETWEEN_S = 2.5  # longer than any pause of a loop at rest
WITHIN_S = 20.0
POLL_INTERVAL_S = 0.002
MOST_PCT = 3.0
BAR_MS = 250  # as in `tradefleet up`
SERVERS = ("postgres", "kafka")
SUPERVISOR = "supervisor"
REGISTERED = "SELECT count(*) FROM analytics.user_locator"
PASSWORD = "correct horse battery"


async def measure() -> list[Figure]:
    used, seconds = await _rest_and_wake()
    own = sum(percent for name, percent in used.items() if name not in SERVERS)
    servers = sum(used[name] for name in SERVERS)
    middle, slowest = statistics.median(seconds), max(seconds)
    return [
        Figure(
            f"the platform at rest ({own:.1f} % of a core; Postgres and Kafka besides: {servers:.1f} %)",
            "platforms/core",
            Rate(100 / own, 0),
            f"at {MOST_PCT:g} % of a core",
            Rate(100 / MOST_PCT, 0),
            aim=1,
        ),
        Figure(
            f"first event after a rest: commit in one service → effect in another ({1000 * middle:.0f} ms)",
            "a second",
            Rate(1 / middle, 0),
            f"the slowest of {EVENTS} ({1000 * slowest:.0f} ms)",
            Rate(1 / slowest, 0),
        ),
    ]


async def _rest_and_wake() -> tuple[Mapping[str, float], list[float]]:
    """Return the percent of a core that each process uses at rest, and the seconds until each first event."""
    home = Path(tempfile.mkdtemp())
    try:
        market = MadeUpMarket(home, BAR_MS)
        options = StackOptions(market.arguments(), prepare_market=market.restore_position)
        async with Stack(home, options) as stack:
            moving = asyncio.create_task(market.run(stack.sandbox))
            await asyncio.sleep(SETTLE_S)
            before, began = _processor_seconds(stack), time.monotonic()
            await asyncio.sleep(REST_S)
            rested_s = time.monotonic() - began
            after = _processor_seconds(stack)
            used = {name: 100 * (after[name] - before[name]) / rested_s for name in after}
            seconds = await _seconds_to_first_events(stack)
            moving.cancel()
            return used, seconds
    finally:
        remove_home(home)


def _processor_seconds(stack: Stack) -> dict[str, float]:
    """Return the processor time of each process with its children; the supervisor is this process."""
    used = {SUPERVISOR: time.process_time()}
    for name in stack.health:
        root = psutil.Process(stack.pid(name))
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        ended = root.cpu_times()
        used[name] = sum(each.user + each.system for each in times) + ended.children_user + ended.children_system
    return used


async def _seconds_to_first_events(stack: Stack) -> list[float]:
    """Register users, each after a rest; return the time from each answer until another service knows the user."""
    connection = await asyncpg.connect(stack.superuser_dsn)
    seconds = []
    async with aiohttp.ClientSession() as session:
        for number in range(EVENTS):
            await asyncio.sleep(BETWEEN_S)
            body = {"email": f"user{number}@example.org", "password": PASSWORD}
            async with session.post(f"{stack.gateway}/v1/auth/register", json=body) as answer:
                answer.raise_for_status()
            began = time.perf_counter()
            async with asyncio.timeout(WITHIN_S):
                while await connection.fetchval(REGISTERED) <= number:
                    await asyncio.sleep(POLL_INTERVAL_S)
            seconds.append(time.perf_counter() - began)
    await connection.close()
    return seconds


async def _main() -> None:
    used, seconds = await _rest_and_wake()
    for name, percent in used.items():
        print(f"{name:16} {percent:5.2f} %")
    print("first event, ms:", *(f"{1000 * each:.0f}" for each in sorted(seconds)))


if __name__ == "__main__":
    asyncio.run(_main())
