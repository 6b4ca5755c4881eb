"""Tells the feed which series a service's tenants need, taken together."""

import asyncio
from typing import Literal
from uuid import UUID

import structlog

from shared.chassis.outbox import NOBODY, emit
from shared.chassis.pausing import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.service_types import Job
from shared.contracts.market import MarketInterest

LOOK_EVERY_S = 0.25

log = structlog.get_logger()
Wisher = Literal["trading", "analytics", "notifications"]


def publish_interests(database: Database, wished_by: Wisher) -> Job:
    """The job that announces every change of the distinct (symbol, interval) its tenants need."""

    async def run(stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await announce_changes(database, wished_by)
            except INFRASTRUCTURE_FAULTS as error:
                log.warning("interests_retry", error=repr(error))
            await pause(stop, LOOK_EVERY_S)

    return Job("interests", run)


async def announce_changes(database: Database, wished_by: Wisher) -> int:
    """Say what changed since the last time; the number of series that did."""
    async with database.queue() as connection:
        changed = await connection.fetch(
            """
            WITH needed AS (SELECT DISTINCT symbol, interval FROM market_interests),
            changed AS (
                SELECT symbol, interval, n.symbol IS NOT NULL AS wanted
                FROM needed n FULL JOIN published_interests p USING (symbol, interval)
                WHERE (n.symbol IS NOT NULL) IS DISTINCT FROM p.wanted
                  AND (n.symbol IS NOT NULL OR p.wanted)
            )
            INSERT INTO published_interests (symbol, interval, wanted, interest_version)
            SELECT symbol, interval, wanted, 1 FROM changed
            ON CONFLICT (symbol, interval) DO UPDATE
               SET wanted = excluded.wanted, interest_version = published_interests.interest_version + 1
               WHERE published_interests.wanted <> excluded.wanted
            RETURNING symbol, interval, wanted, interest_version
            """
        )
        await emit(
            connection,
            *(
                MarketInterest(
                    user_id=NOBODY,
                    public_id=UUID(int=0),
                    aggregate="market_interest",
                    aggregate_seq=row["interest_version"],
                    wished_by=wished_by,
                    symbol=row["symbol"],
                    interval=row["interval"],
                    wanted=row["wanted"],
                    interest_version=row["interest_version"],
                )
                for row in changed
            ),
            source=wished_by,
        )
    return len(changed)
