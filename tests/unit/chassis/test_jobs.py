"""Periodic jobs."""

import asyncio

from shared.chassis.jobs import AT_ONCE, every
from tests.pace import patient


async def test_a_job_repeats_after_the_pause_that_its_work_returns_and_else_after_the_usual_one() -> None:
    pauses, stop = [AT_ONCE, 0.01, None, None], asyncio.Event()

    async def work() -> float | None:
        return pauses.pop(0)

    job = every("example", 60.0, work, role="worker")
    running = asyncio.create_task(job.run(stop))
    async with asyncio.timeout(patient(5)):
        while len(pauses) > 1:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert (job.name, job.role, len(pauses)) == ("example", "worker", 1)
    stop.set()
    async with asyncio.timeout(patient(5)):
        await running
