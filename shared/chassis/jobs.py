"""Background jobs, and those that run by the clock."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from shared.chassis.pause import pause

AT_ONCE = 0.0


@dataclass(frozen=True)
class Job:
    """A background task that runs until it is asked to stop. `role` is its name in `--only`."""

    name: str
    run: Callable[[asyncio.Event], Coroutine[object, object, None]]
    role: str = "jobs"


def every(name: str, seconds: float, work: Callable[[], Awaitable[float | None]], role: str = "jobs") -> Job:
    """Return a job that runs `work` every so many seconds.

    `work` returns the seconds until it is due again: `AT_ONCE` after a full batch, None for the usual pause.
    """

    async def run(stop: asyncio.Event) -> None:
        while not stop.is_set():
            due_in_s = await work()
            await pause(stop, seconds if due_in_s is None else due_in_s)

    return Job(name, run, role)
