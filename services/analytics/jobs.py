"""What runs beside the requests."""

import asyncio
from datetime import timedelta

import structlog

from services.analytics.operations.analyses import prepare_month
from services.analytics.operations.retention import drop_some
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

LOOK_EVERY_S = 3600
RETENTION_EVERY_S = 60
BETWEEN_STEPS_S = 0.1
AHEAD = timedelta(days=7)

log = structlog.get_logger()


async def run_months(database: Database, stop: asyncio.Event) -> None:
    """The partitions of this month, and of the next a week before it begins."""
    while not stop.is_set():
        for moment in (utc_now(), utc_now() + AHEAD):
            await prepare_month(database, moment)
        await pause(stop, LOOK_EVERY_S)


async def run_retention(database: Database, stop: asyncio.Event) -> None:
    """Step after step while anybody waits, each a transaction of its own."""
    while not stop.is_set():
        dropped = await drop_some(database, utc_now())
        if dropped:
            log.info("analyses_dropped", rows=dropped)
        await pause(stop, RETENTION_EVERY_S if dropped is None else BETWEEN_STEPS_S)
