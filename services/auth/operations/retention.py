"""What is counted is forgotten."""

import asyncio

import structlog

from services.auth.domain.attempts import FORGOTTEN_AFTER, MOST_COUNTERS
from services.auth.domain.registrations import DAY
from services.auth.queries import attempts, registrations
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import Database

FORGET_EVERY_S = 60.0

log = structlog.get_logger()


async def forget_attempts(database: Database, stop: asyncio.Event) -> None:
    """Until told to stop: counters that count no more go, and the oldest where there are too many."""
    while not stop.is_set():
        async with database.untenanted() as connection:
            gone = await attempts.forget_attempts(connection, utc_now() - FORGOTTEN_AFTER, MOST_COUNTERS)
            gone += await registrations.forget_registered(connection, utc_now() - DAY)
        if gone:
            log.info("attempts_forgotten", counters=gone)
        await pause(stop, FORGET_EVERY_S)
