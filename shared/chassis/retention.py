"""What is old goes, a day at a time."""

import asyncio

import asyncpg
import structlog

from shared.chassis.pause import pause
from shared.chassis.postgres import Database

LOOK_EVERY_S = 3600.0
BUSY_RETRY_S = 60.0

log = structlog.get_logger()


async def keep_days(database: Database, stop: asyncio.Event) -> None:
    """Until told to stop: partitions of the days to come are made, those that nothing needs any more dropped."""
    while not stop.is_set():
        try:
            async with database.queue() as connection:
                done = await connection.fetch("SELECT keep_event_days() AS what")
        except asyncpg.LockNotAvailableError:
            await pause(stop, BUSY_RETRY_S)  # somebody works on a partition: it can wait
            continue
        if done:
            log.info("event_days", done=[row["what"] for row in done])
        await pause(stop, LOOK_EVERY_S)
