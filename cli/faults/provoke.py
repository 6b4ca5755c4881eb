"""Brings the platform to points that a quiet minute does not come by: a trial that is over, an event that fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

PARKED_WITHIN_S = 12.0
DONE_WITHIN_S = 90.0
LOOK_EVERY_S = 0.1
LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

OVER = """
    WITH over AS (
        SELECT user_id FROM billing.user_subscriptions WHERE status = 'TRIAL' ORDER BY start_date DESC LIMIT 1
    ), ended AS (
        UPDATE billing.user_subscriptions SET trial_end_date = now(), current_period_end = now()
        WHERE user_id IN (SELECT user_id FROM over) AND status = 'TRIAL'
    )
    UPDATE billing.subscription_deadlines SET due_at = now() WHERE user_id IN (SELECT user_id FROM over)
"""
BUSIEST = "SELECT user_id FROM trading.user_trades ORDER BY entry_time DESC LIMIT 1"
SPOIL = """
    SET lock_timeout = '2s';
    CREATE OR REPLACE FUNCTION analytics.spoiled() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'spoiled by a run of faults'; END $$;
    CREATE OR REPLACE TRIGGER spoiled BEFORE INSERT ON analytics.trade_facts
    FOR EACH ROW WHEN (NEW.user_id = %d) EXECUTE FUNCTION analytics.spoiled();
"""
UNSPOIL = "SET lock_timeout = '2s'; DROP FUNCTION IF EXISTS analytics.spoiled CASCADE"
PARKED = "SELECT EXISTS (SELECT FROM analytics.parked WHERE state = 'WAITING')"


async def end_a_trial(superuser_dsn: str) -> None:
    """The newest trial is over now."""
    await _ask(superuser_dsn, OVER)


@asynccontextmanager
async def spoiled_trades(superuser_dsn: str) -> AsyncIterator[None]:
    """One tenant's trades cannot be noted by analytics while this lasts; entered when one was parked for it."""
    user_id = await _ask(superuser_dsn, BUSIEST)
    if user_id is None:
        yield
        return
    await _ask(superuser_dsn, SPOIL % user_id, whole=True)
    try:
        await _wait_until_parked(superuser_dsn)
        yield
    finally:
        await heal(superuser_dsn)


async def heal(superuser_dsn: str) -> None:
    """Nothing fails any more."""
    await _ask(superuser_dsn, UNSPOIL, whole=True)


async def _wait_until_parked(superuser_dsn: str) -> None:
    for _ in range(int(PARKED_WITHIN_S / LOOK_EVERY_S)):
        if await _ask(superuser_dsn, PARKED):
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def _ask(dsn: str, statements: str, *, whole: bool = False) -> object:
    """The first value, or nothing of several statements; again while the server is away or a lock is held."""
    fault: Exception | None = None
    try:
        async with asyncio.timeout(DONE_WITHIN_S):
            while True:
                try:
                    return await _ask_once(dsn, statements, whole=whole)
                except LOST as error:
                    fault = error
                    await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise TimeoutError(f"Postgres does not do {statements!r}: {fault!r}") from None


async def _ask_once(dsn: str, statements: str, *, whole: bool) -> object:
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        return await (connection.execute(statements) if whole else connection.fetchval(statements))
    finally:
        connection.terminate()
