"""Retention: deletes backtests that ended long ago."""

from datetime import timedelta

import structlog

from services.trading.queries import backtest_queue
from shared.chassis.clock import utc_now
from shared.chassis.jobs import AT_ONCE, Job, every
from shared.chassis.postgres import Database

CHECK_EVERY_S = 600.0
BATCH = 100  # small, because their fills are deleted with them

log = structlog.get_logger()


def retention(database: Database, keep_days: int) -> Job:
    """Delete backtests that ended more than `keep_days` ago."""

    async def work() -> float | None:
        before = utc_now() - timedelta(days=keep_days)
        async with database.queue() as connection:
            deleted = await backtest_queue.delete_backtests(connection, before, BATCH)
        if deleted:
            log.info("backtests_deleted", backtests=deleted)
        return AT_ONCE if deleted == BATCH else None

    return every("backtest-retention", CHECK_EVERY_S, work)
