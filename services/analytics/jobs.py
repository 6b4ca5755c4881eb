"""Background jobs: compute stale days, create partitions of analyses, and delete expired analyses."""

from datetime import timedelta

import structlog

from services.analytics.operations.analyses import prepare_month
from services.analytics.operations.days import compute_days_of_users, list_stale_users
from services.analytics.operations.retention import drop_expired
from shared.chassis.clock import utc_now
from shared.chassis.jobs import AT_ONCE, Job, every
from shared.chassis.postgres import Database
from shared.contracts.envelope import NOBODY

DAYS_EVERY_S = 1
USERS_AT_ONCE = 200  # in one transaction, for which the facts of these users wait
MONTHS_EVERY_S = 3600
RETENTION_EVERY_S = 60
STEP_PAUSE_S = 0.1
AHEAD = timedelta(days=7)

log = structlog.get_logger()


def days(database: Database) -> Job:
    """Return the job that computes stale days: in rounds over the users, at most one round a second.

    If the days of some users cannot be computed, the round continues after them; the next one tries them again.
    """
    reached = NOBODY

    async def work() -> float | None:
        nonlocal reached
        users = await list_stale_users(database, reached, USERS_AT_ONCE)
        has_more = len(users) == USERS_AT_ONCE
        reached = users[-1] if has_more else NOBODY
        await compute_days_of_users(database, users)
        return AT_ONCE if has_more else None

    return every("days", DAYS_EVERY_S, work)


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
