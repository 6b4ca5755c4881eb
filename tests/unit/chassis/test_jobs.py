"""Periodic jobs."""

import asyncio
import time

from shared.chassis.jobs import AT_ONCE, every


async def test_a_job_repeats_at_once_while_work_is_due_and_then_pauses_until_stopped() -> None:
    calls, stop = [], asyncio.Event()

    async def work() -> float | None:
        calls.append(time.monotonic())
        return AT_ONCE if len(calls) < 3 else None

    job = every("example", 60.0, work, role="worker")
    running = asyncio.create_task(job.run(stop))
    while len(calls) < 3:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    stop.set()
    await running
    assert (job.name, job.role, len(calls)) == ("example", "worker", 3)
    assert calls[-1] - calls[0] < 5
