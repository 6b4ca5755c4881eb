"""Background jobs: create partitions of analyses, and delete analyses whose retention is over."""

from datetime import timedelta

import structlog

from services.analytics.operations.analyses import prepare_month
from services.analytics.operations.retention import drop_expired
from shared.chassis.clock import utc_now
from shared.chassis.jobs import Job, every
from shared.chassis.postgres import Database

MONTHS_EVERY_S = 3600
RETENTION_EVERY_S = 60
STEP_PAUSE_S = 0.1
AHEAD = timedelta(days=7)

log = structlog.get_logger()


def months(database: Database) -> Job:
    """Return the job that creates this month's partition, and the next month's a week before it begins."""

    async def work() -> None:
        for moment in (utc_now(), utc_now() + AHEAD):
            await prepare_month(database, moment)

    return every("months", MONTHS_EVERY_S, work)


def retention(database: Database) -> Job:
    """Return the job that deletes expired analyses in steps, each in its own transaction.

    It pauses only briefly between steps while users are due.
    """

    async def work() -> float | None:
        dropped = await drop_expired(database, utc_now())
        if dropped:
            log.info("analyses_dropped", rows=dropped)
        return None if dropped is None else STEP_PAUSE_S

    return every("retention", RETENTION_EVERY_S, work)
