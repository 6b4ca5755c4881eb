"""What runs beside the requests: what is old goes."""

import asyncio

import structlog

from services.notifications.queries.retention import drop_inbox_months, forget_notifications
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

LOOK_EVERY_S = 3600.0
BUSY_RETRY_S = 60.0
AT_ONCE = 5_000

log = structlog.get_logger()


async def forget_the_old(database: Database, stop: asyncio.Event) -> None:
    """Until told to stop; without a pause while there is more of it."""
    while not stop.is_set():
        try:
            async with database.queue() as connection:
                done = await drop_inbox_months(connection)
            async with database.queue() as connection:
                gone = await forget_notifications(connection, AT_ONCE)
        except INFRASTRUCTURE_FAULTS as error:
            log.info("forgetting_waits", error=repr(error))
            await pause(stop, BUSY_RETRY_S)
            continue
        if done or gone:
            log.info("forgotten", months=done, rows=gone)
        if gone < AT_ONCE:
            await pause(stop, LOOK_EVERY_S)
