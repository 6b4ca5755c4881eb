"""Background job: delete rows whose retention is over."""

import asyncio

import structlog

from services.notifications.queries.retention import delete_expired_rows, drop_inbox_months
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

CHECK_INTERVAL_S = 3600.0
BUSY_RETRY_S = 60.0
MAX_ROWS = 5_000

log = structlog.get_logger()


async def delete_expired(database: Database, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Does not pause while a full batch was deleted, because more rows may be due."""
    while not stop.is_set():
        try:
            async with database.queue() as connection:
                dropped = await drop_inbox_months(connection)
            async with database.queue() as connection:
                deleted = await delete_expired_rows(connection, MAX_ROWS)
        except INFRASTRUCTURE_FAULTS as error:
            log.info("retention_delayed", error=repr(error))
            await pause(stop, BUSY_RETRY_S)
            continue
        if dropped or deleted:
            log.info("expired_rows_deleted", months=dropped, rows=deleted)
        if deleted < MAX_ROWS:
            await pause(stop, CHECK_INTERVAL_S)
