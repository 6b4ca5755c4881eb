"""Retention of events: creates and drops the daily partitions of the event tables."""

import asyncio

import asyncpg
import structlog

from shared.chassis.pause import pause
from shared.chassis.postgres import Database

RUN_EVERY_S = 3600.0
BUSY_RETRY_S = 60.0

log = structlog.get_logger()


async def maintain_event_days(database: Database, stop: asyncio.Event) -> None:
    """Until `stop` is set, create the partitions of the coming days and drop those that are no longer needed."""
    while not stop.is_set():
        try:
            async with database.queue() as connection:
                done = await connection.fetch("SELECT keep_event_days() AS what")
        except asyncpg.LockNotAvailableError:
            await pause(stop, BUSY_RETRY_S)  # a partition is in use; the cleanup can wait
            continue
        if done:
            log.info("event_days", done=[row["what"] for row in done])
        await pause(stop, RUN_EVERY_S)
