"""Cleanup of expired counters."""

import asyncio

import structlog

from services.auth.domain.attempts import COUNTER_TTL, MOST_COUNTERS
from services.auth.domain.registrations import DAY
from services.auth.queries import attempts, registrations
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

CLEANUP_EVERY_S = 60.0

log = structlog.get_logger()


async def delete_expired_counters(database: Database, stop: asyncio.Event) -> None:
    """Delete expired counters, and the oldest if there are too many, until `stop` is set."""
    while not stop.is_set():
        async with database.untenanted() as connection:
            deleted = await attempts.delete_expired_attempts(connection, utc_now() - COUNTER_TTL, MOST_COUNTERS)
            deleted += await registrations.delete_expired_registrations(connection, utc_now() - DAY)
        if deleted:
            log.info("attempt_counters_deleted", counters=deleted)
        await pause(stop, CLEANUP_EVERY_S)
