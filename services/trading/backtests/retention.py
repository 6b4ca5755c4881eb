"""Backtests that ended long ago are forgotten."""

import asyncio
from datetime import timedelta

import structlog

from services.trading.queries import backtest_queue
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

LOOK_EVERY_S = 600.0
AT_ONCE = 100  # their fills go with them

log = structlog.get_logger()


async def forget_backtests(database: Database, keep_days: int, stop: asyncio.Event) -> None:
    """Until told to stop."""
    while not stop.is_set():
        before = utc_now() - timedelta(days=keep_days)
        async with database.queue() as connection:
            gone = await backtest_queue.forget_backtests(connection, before, AT_ONCE)
        if gone:
            log.info("backtests_forgotten", backtests=gone)
        if gone < AT_ONCE:
            await pause(stop, LOOK_EVERY_S)
