"""Background jobs: create partitions of analyses, and delete analyses whose retention is over."""

from datetime import timedelta

import structlog

from services.analytics.operations.analyses import prepare_month
from services.analytics.operations.retention import drop_expired
from shared.chassis.clock import utc_now
from shared.chassis.jobs import Job, every
from shared.chassis.postgres import Database

CHECK_INTERVAL_S = 3600
RETENTION_EVERY_S = 60
STEP_PAUSE_S = 0.1
AHEAD = timedelta(days=7)

log = structlog.get_logger()


def months(database: Database) -> Job:
    """Create the partition of this month, and that of the next month a week before it begins."""

    async def work() -> None:
        for moment in (utc_now(), utc_now() + AHEAD):
            await prepare_month(database, moment)

    return every("months", CHECK_INTERVAL_S, work)


def retention(database: Database) -> Job:
    """Delete expired analyses step by step, each in its own transaction; wait longer once no user is due."""

    async def work() -> float | None:
        dropped = await drop_expired(database, utc_now())
        if dropped:
            log.info("analyses_dropped", rows=dropped)
        return None if dropped is None else STEP_PAUSE_S

    return every("retention", RETENTION_EVERY_S, work)
