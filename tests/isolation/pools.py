"""The required state of an unused connection pool."""

import asyncio
from collections.abc import Mapping
from functools import partial

import asyncpg

from shared.chassis.postgres import Database, Pool
from tests.integration.accounts import eventually
from tests.pace import patient

SETTLED_WITHIN_S = patient(10.0)
UNTOUCHED = (None, "")


def pools_of(database: Database) -> Mapping[str, Pool]:
    return {"app": database._app, "worker": database._worker, "queue": database._queue}


async def assert_clean(database: Database) -> None:
    """Assert that every connection was returned, without a tenant, a transaction or a lock."""
    for role, pool in pools_of(database).items():
        await eventually(partial(_is_whole, pool), bool, SETTLED_WITHIN_S)
        borrowed = [await pool.acquire(timeout=SETTLED_WITHIN_S) for _ in range(pool.get_max_size())]
        try:
            for connection in borrowed:
                assert not connection.is_in_transaction(), role
                state = await connection.fetchrow(
                    """
                    SELECT current_setting('app.user_id', true) AS one,
                           current_setting('app.user_ids', true) AS many,
                           pg_current_xact_id_if_assigned()::text AS transaction,
                           (SELECT count(*) FROM pg_locks
                            WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks
                    """
                )
                assert state is not None
                assert state["one"] in UNTOUCHED, role
                assert state["many"] in UNTOUCHED, role
                assert (state["transaction"], state["locks"]) == (None, 0), role
        finally:
            await asyncio.gather(*(pool.release(connection) for connection in borrowed))


async def _is_whole(pool: Pool) -> bool:
    return bool(pool._queue.qsize() == pool.get_max_size())


async def assert_within_budget(superuser: asyncpg.Connection, database: Database, service: str) -> None:
    """Assert that there are no more backends than the pools may open, and none in a transaction."""

    async def backends() -> list[asyncpg.Record]:
        return list(
            await superuser.fetch(
                """
                SELECT usename, state FROM pg_stat_activity
                WHERE datname = current_database() AND usename LIKE $1
                """,
                f"{service}\\_%",
            )
        )

    def settled(rows: list[asyncpg.Record]) -> bool:
        return all(row["state"] == "idle" for row in rows) and all(
            sum(row["usename"] == f"{service}_{role}" for row in rows) <= pool.get_max_size()
            for role, pool in pools_of(database).items()
        )

    await eventually(backends, settled, SETTLED_WITHIN_S)
