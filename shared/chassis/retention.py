"""Retention of events: creates and drops the daily partitions of the event tables."""

import asyncpg
import structlog

from shared.chassis.jobs import Job, every
from shared.chassis.postgres import Database

RUN_EVERY_S = 3600.0
BUSY_RETRY_S = 60.0

log = structlog.get_logger()


def event_days(database: Database) -> Job:
    """Return the job that creates the partitions of the coming days and drops those no longer needed."""

    async def work() -> float | None:
        try:
            async with database.queue() as connection:
                done = await connection.fetch("SELECT keep_event_days() AS what")
        except asyncpg.LockNotAvailableError:
            return BUSY_RETRY_S  # a partition is in use; the cleanup can wait
        if done:
            log.info("event_days", done=[row["what"] for row in done])
        return None

    return every("event-days", RUN_EVERY_S, work)
