"""What runs beside the requests."""

import asyncio

from services.analytics.operations import rebuild_stale_days
from shared.chassis.pausing import pause
from shared.chassis.postgres import Database

LOOK_EVERY_S = 0.5


async def run_rebuilds(database: Database, stop: asyncio.Event) -> None:
    """Days follow their facts within about half a second."""
    while not stop.is_set():
        await rebuild_stale_days(database)
        await pause(stop, LOOK_EVERY_S)
