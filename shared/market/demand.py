"""The demand of a service's tenants for market series, and the job that publishes it to the feed."""

import asyncio
from collections.abc import Collection
from typing import Literal
from uuid import UUID

import structlog

from shared.chassis.events.outbox import emit
from shared.chassis.jobs import AT_ONCE, Job
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.contracts.envelope import NOBODY
from shared.contracts.market import MarketInterest

PUBLISH_AT_MOST_EVERY_S = 0.25
REST_S = 5.0  # for changes that are in no hurry: the end of an alert, another generation of a session

log = structlog.get_logger()
Requester = Literal["trading", "analytics", "notifications"]
FIND_USERS = "SELECT DISTINCT user_id FROM market_interests WHERE symbol = $1 AND interval = $2 ORDER BY user_id"

FIND_USERS_OF_SERIES = """
    SELECT symbol, interval, array_agg(user_id) AS users
    FROM unnest($1::text[], $2::text[]) AS series (symbol, interval)
    JOIN market_interests USING (symbol, interval) GROUP BY symbol, interval
"""


async def insert_demand(
    connection: Connection, user_id: int, object_id: UUID, symbol: str, interval: str, history_bars: int = 0
) -> None:
    """Insert the demand of a session, watch or alert; `history_bars` is the number of bars that it needs."""
    await connection.execute(
        """
        INSERT INTO market_interests (user_id, object_id, symbol, interval, history_bars)
        VALUES ($1, $2, $3, $4, $5)
        """,
        user_id,
        object_id,
        symbol,
        interval,
        history_bars,
    )
    connection.note_filled("demand")


async def delete_demand(connection: Connection, user_id: int, object_id: UUID) -> None:
    await connection.execute(
        "DELETE FROM market_interests WHERE user_id = $1 AND object_id = $2", user_id, object_id
    )
    connection.note_filled("demand")


async def find_users(connection: Connection, symbol: str, interval: str) -> list[int]:
    """Return the users with demand for a series, ascending. Reads across tenants, so it needs the queue role."""
    return [row["user_id"] for row in await connection.fetch(FIND_USERS, symbol, interval)]


async def find_users_of_series(
    connection: Connection, series: Collection[tuple[str, str]]
) -> dict[tuple[str, str], list[int]]:
    """Return the users with demand, ascending, for each (symbol, interval) that has some. Needs the queue role."""
    symbols, intervals = [symbol for symbol, _ in series], [interval for _, interval in series]
    rows = await connection.fetch(FIND_USERS_OF_SERIES, symbols, intervals)
    # Sorted here: Postgres would sort all rows by series, too.
    return {(row["symbol"], row["interval"]): sorted(set(row["users"])) for row in rows}


def publish_demand(database: Database, requester: Requester) -> Job:
    """Return the job that publishes every change in the tenants' demand for a (symbol, interval)."""

    async def run(stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await publish_changes(database, requester)
            except INFRASTRUCTURE_FAULTS as error:
                log.warning("demand_not_published", error=repr(error))
            await pause(stop, PUBLISH_AT_MOST_EVERY_S)
            await database.until_filled("demand", stop, AT_ONCE, REST_S)

    return Job("demand", run)


async def publish_changes(database: Database, requester: Requester) -> int:
    """Publish the changes since the last call. Returns the number of changed series."""
    async with database.queue() as connection:
        changed = await connection.fetch(
            """
            WITH needed AS (
                SELECT symbol, interval, true AS wanted, max(history_bars) AS history_bars,
                       array_remove(array_agg(DISTINCT generation ORDER BY generation), NULL) AS generations
                FROM market_interests GROUP BY symbol, interval
            ),
            gone AS (
                SELECT symbol, interval, false, 0, '{}'::integer[] FROM published_interests p
                WHERE wanted AND NOT EXISTS (
                    SELECT FROM market_interests m WHERE m.symbol = p.symbol AND m.interval = p.interval)
            )
            INSERT INTO published_interests AS p (symbol, interval, wanted, history_bars, generations,
                                                  interest_version)
            SELECT *, 1 FROM (SELECT * FROM needed UNION ALL SELECT * FROM gone) AS now
            WHERE NOT EXISTS (
                SELECT FROM published_interests p
                WHERE (p.symbol, p.interval, p.wanted, p.history_bars, p.generations)
                      = (now.symbol, now.interval, now.wanted, now.history_bars, now.generations))
            ON CONFLICT (symbol, interval) DO UPDATE
               SET wanted = excluded.wanted, history_bars = excluded.history_bars,
                   generations = excluded.generations, interest_version = p.interest_version + 1
               WHERE (p.wanted, p.history_bars, p.generations)
                     <> (excluded.wanted, excluded.history_bars, excluded.generations)
            RETURNING symbol, interval, wanted, interest_version, history_bars, generations
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
                    wished_by=requester,
                    symbol=row["symbol"],
                    interval=row["interval"],
                    wanted=row["wanted"],
                    interest_version=row["interest_version"],
                    history_bars=row["history_bars"],
                    generations=tuple(row["generations"]),
                )
                for row in changed
            ),
            source=requester,
        )
    return len(changed)
