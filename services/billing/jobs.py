"""Periodic jobs of billing."""

from services.billing.operations.subscriptions import process_deadlines
from shared.chassis.clock import utc_now
from shared.chassis.jobs import AT_ONCE, Job, every
from shared.chassis.postgres import Database

POLL_EVERY_S = 5.0


def deadlines(database: Database) -> Job:
    """Return the job that processes due deadlines, without a pause until none is left."""

    async def work() -> float | None:
        return AT_ONCE if await process_deadlines(database, utc_now()) else None

    return every("deadlines", POLL_EVERY_S, work)
