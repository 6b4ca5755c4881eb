"""A service with a part that ends early, named by the environment variable ENDING_PART."""

import asyncio
import os
from collections.abc import Sequence

from shared.chassis.events.handlers import EventHandler
from shared.chassis.jobs import Job
from shared.chassis.postgres import Connection
from shared.chassis.service import run
from shared.chassis.service_types import Context, Service
from shared.chassis.settings import ServiceSettings
from shared.contracts.auth import UserRegistered

PART = os.environ["ENDING_PART"]


async def on_user_registered(_: Connection, events: Sequence[UserRegistered]) -> None:
    pass


async def return_early(_: asyncio.Event) -> None:
    pass


async def fail(_: asyncio.Event) -> None:
    raise KeyError(PART)


async def cancel_part(stop: asyncio.Event) -> None:
    """Cancel the part, once every other one runs."""
    (part,) = [task for task in asyncio.all_tasks() if task.get_name() == PART]
    part.cancel()
    await stop.wait()


def build(_: Context) -> Service:
    jobs = {"returns": return_early, "fails": fail}
    job = Job(PART, jobs[PART]) if PART in jobs else Job("canceller", cancel_part)
    return Service("analytics", handlers=[EventHandler(UserRegistered, on_user_registered)], jobs=[job])


if __name__ == "__main__":
    run(build, ServiceSettings)
