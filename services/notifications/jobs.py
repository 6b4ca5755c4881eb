"""Background job: delete rows whose retention is over."""

import structlog

from services.notifications.queries.retention import delete_expired_rows, drop_inbox_months
from shared.chassis.jobs import AT_ONCE, Job, every
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

RETENTION_EVERY_S = 3600.0
BUSY_RETRY_S = 60.0
MAX_ROWS = 5_000

log = structlog.get_logger()


def retention(database: Database) -> Job:
    """Return the job that deletes expired rows, without a pause after a full batch: more rows may be due."""

    async def work() -> float | None:
        try:
            async with database.queue() as connection:
                dropped = await drop_inbox_months(connection)
            async with database.queue() as connection:
                deleted = await delete_expired_rows(connection, MAX_ROWS)
        except INFRASTRUCTURE_FAULTS as error:
            log.info("retention_delayed", error=repr(error))
            return BUSY_RETRY_S
        if dropped or deleted:
            log.info("expired_rows_deleted", months=dropped, rows=deleted)
        return AT_ONCE if deleted == MAX_ROWS else None

    return every("retention", RETENTION_EVERY_S, work)
