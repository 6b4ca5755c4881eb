"""The exchange's clock is asked while somebody reads it."""

import asyncio
from datetime import UTC, datetime

from services.trading.venue_clock import VenueClock
from tests.pace import patient

NEVER_S = 600.0


class Api:
    def __init__(self) -> None:
        self.asked = 0

    async def server_time(self) -> datetime:
        self.asked += 1
        return datetime(2026, 1, 1, second=self.asked, tzinfo=UTC)


async def _until(api: Api, asked: int) -> None:
    async with asyncio.timeout(patient(5)):
        while api.asked < asked:
            await asyncio.sleep(0)


async def test_a_clock_that_nobody_reads_is_asked_once_and_a_read_asks_again_at_once() -> None:
    api = Api()
    clock = VenueClock(api)  # type: ignore[arg-type]  # all that it uses
    stop = asyncio.Event()
    following = asyncio.create_task(clock.follow(stop, ask_every_s=0.001, rest_s=NEVER_S))
    await _until(api, 1)
    await asyncio.sleep(0.05)
    assert api.asked == 1
    assert clock.last_seen == datetime(2026, 1, 1, second=1, tzinfo=UTC)
    await _until(api, 2)
    stop.set()
    await following


class StandingApi(Api):
    """As a replay's exchange between two steps."""

    async def server_time(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


async def test_the_steady_clock_continues_while_the_exchange_stands_and_never_goes_back() -> None:
    clock = VenueClock(StandingApi())  # type: ignore[arg-type]  # all that it uses
    first = await clock.now()
    seen = [clock.steady]
    for _ in range(5):
        await asyncio.sleep(0.01)
        await clock.now()
        seen.append(clock.steady)
    assert seen == sorted(seen)
    assert (seen[-1] - first).total_seconds() > 0.04
    assert clock.estimated < seen[-1]


async def test_the_steady_clock_follows_the_exchange_forward() -> None:
    clock = VenueClock(StandingApi())  # type: ignore[arg-type]  # all that it uses
    await clock.now()
    later = datetime(2026, 1, 1, 1, tzinfo=UTC)
    clock.see(later)
    assert clock.steady >= later
