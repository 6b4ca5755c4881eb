"""What runs beside the requests."""

import asyncio
from datetime import timedelta

from services.analytics.operations.analyses import prepare_month
from shared.chassis.clock import utc_now
from shared.chassis.pausing import pause
from shared.chassis.postgres import Database

LOOK_EVERY_S = 3600
AHEAD = timedelta(days=7)


async def run_months(database: Database, stop: asyncio.Event) -> None:
    """The partitions of this month, and of the next a week before it begins."""
    while not stop.is_set():
        for moment in (utc_now(), utc_now() + AHEAD):
            await prepare_month(database, moment)
        await pause(stop, LOOK_EVERY_S)
