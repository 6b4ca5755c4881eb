"""Periodic jobs of billing."""

import asyncio

from services.billing.operations.subscriptions import process_deadlines
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

POLL_EVERY_S = 5.0


async def run_deadlines(database: Database, stop: asyncio.Event) -> None:
    """Process due deadlines until `stop` is set; pause only when none is left."""
    while not stop.is_set():
        if await process_deadlines(database, utc_now()) == 0:
            await pause(stop, POLL_EVERY_S)
