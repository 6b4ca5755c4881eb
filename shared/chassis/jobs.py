"""Background jobs, and jobs that repeat at an interval."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from shared.chassis.pause import pause

AT_ONCE = 0.0


@dataclass(frozen=True)
class Job:
    """A background task that runs until it is asked to stop. `--only` selects it by its `role`."""

    name: str
    run: Callable[[asyncio.Event], Coroutine[object, object, None]]
    role: str = "jobs"


def every(name: str, seconds: float, work: Callable[[], Awaitable[float | None]], role: str = "jobs") -> Job:
    """Return a job that repeats `work`, with a pause of `seconds` between two runs.

    `work` returns another pause in seconds, such as `AT_ONCE` after a full batch, or None for the usual one.
    """

    async def run(stop: asyncio.Event) -> None:
        while not stop.is_set():
            pause_s = await work()
            await pause(stop, seconds if pause_s is None else pause_s)

    return Job(name, run, role)
