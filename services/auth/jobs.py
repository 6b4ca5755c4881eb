"""Periodic jobs of auth."""

import structlog

from services.auth.domain.attempts import COUNTER_TTL, MAX_COUNTERS
from services.auth.domain.registrations import DAY
from services.auth.queries import attempts, registrations
from shared.chassis.clock import utc_now
from shared.chassis.jobs import Job, every
from shared.chassis.postgres import Database

RETENTION_EVERY_S = 60.0

log = structlog.get_logger()


def retention(database: Database) -> Job:
    """Return the job that deletes expired counters, and the oldest if there are too many."""

    async def work() -> None:
        async with database.untenanted() as connection:
            deleted = await attempts.delete_expired_attempts(connection, utc_now() - COUNTER_TTL, MAX_COUNTERS)
            deleted += await registrations.delete_expired_registrations(connection, utc_now() - DAY)
        if deleted:
            log.info("attempt_counters_deleted", counters=deleted)

    return every("retention", RETENTION_EVERY_S, work)
