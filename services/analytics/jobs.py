"""Background jobs: create partitions of analyses, and delete analyses whose retention is over."""

import asyncio
from datetime import timedelta

import structlog

from services.analytics.operations.analyses import prepare_month
from services.analytics.operations.retention import drop_expired
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

CHECK_INTERVAL_S = 3600
RETENTION_EVERY_S = 60
STEP_PAUSE_S = 0.1
AHEAD = timedelta(days=7)

log = structlog.get_logger()


async def run_months(database: Database, stop: asyncio.Event) -> None:
    """Create the partition of this month, and that of the next month a week before it begins."""
    while not stop.is_set():
        for moment in (utc_now(), utc_now() + AHEAD):
            await prepare_month(database, moment)
        await pause(stop, CHECK_INTERVAL_S)


async def run_retention(database: Database, stop: asyncio.Event) -> None:
    """Delete expired analyses step by step, each in its own transaction; wait longer once no user is due."""
    while not stop.is_set():
        dropped = await drop_expired(database, utc_now())
        if dropped:
            log.info("analyses_dropped", rows=dropped)
        await pause(stop, RETENTION_EVERY_S if dropped is None else STEP_PAUSE_S)
