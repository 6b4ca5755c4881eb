"""Retention: deletes backtests that ended long ago."""

import asyncio
from datetime import timedelta

import structlog

from services.trading.queries import backtest_queue
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

CHECK_EVERY_S = 600.0
BATCH = 100  # small, because their fills are deleted with them

log = structlog.get_logger()


async def delete_old_backtests(database: Database, keep_days: int, stop: asyncio.Event) -> None:
    """Delete backtests that ended more than `keep_days` ago, until `stop` is set."""
    while not stop.is_set():
        before = utc_now() - timedelta(days=keep_days)
        async with database.queue() as connection:
            deleted = await backtest_queue.delete_backtests(connection, before, BATCH)
        if deleted:
            log.info("backtests_deleted", backtests=deleted)
        if deleted < BATCH:
            await pause(stop, CHECK_EVERY_S)
