"""What billing does by the clock."""

import asyncio

from services.billing.operations.subscriptions import work_deadlines
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

LOOK_EVERY_S = 5.0


async def run_deadlines(database: Database, stop: asyncio.Event) -> None:
    """Until told to stop; without a pause while there is more to do."""
    while not stop.is_set():
        if await work_deadlines(database, utc_now()) == 0:
            await pause(stop, LOOK_EVERY_S)
