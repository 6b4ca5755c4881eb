"""Provokes rare situations: a trial that ends, an event whose handling fails, a poisoned message."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import bucket_of
from shared.contracts.catalog import BY_TOPIC
from shared.contracts.envelope import NOBODY
from shared.contracts.market import MarketInterest
from shared.contracts.types import instant_text, new_id

PARKED_WITHIN_S = 12.0
DONE_WITHIN_S = 90.0
POLL_INTERVAL_S = 0.1
CONNECTION_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

END_TRIAL = """
    WITH over AS (
        SELECT user_id FROM billing.user_subscriptions WHERE status = 'TRIAL' ORDER BY start_date DESC LIMIT 1
    ), ended AS (
        UPDATE billing.user_subscriptions SET trial_end_date = now(), current_period_end = now()
        WHERE user_id IN (SELECT user_id FROM over) AND status = 'TRIAL'
    )
    UPDATE billing.subscription_deadlines SET due_at = now() WHERE user_id IN (SELECT user_id FROM over)
"""
LATEST_TRADER = "SELECT user_id FROM trading.user_trades ORDER BY entry_time DESC LIMIT 1"
BREAK_TRADES = """
    SET lock_timeout = '2s';
    CREATE OR REPLACE FUNCTION analytics.fail_trades() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'broken by a fault run'; END $$;
    CREATE OR REPLACE TRIGGER fail_trades BEFORE INSERT ON analytics.trade_facts
    FOR EACH ROW WHEN (NEW.user_id = %d) EXECUTE FUNCTION analytics.fail_trades();
"""
REPAIR_TRADES = "SET lock_timeout = '2s'; DROP FUNCTION IF EXISTS analytics.fail_trades CASCADE"
PARKED = "SELECT EXISTS (SELECT FROM analytics.parked WHERE state = 'WAITING')"
PUBLISH = """
    INSERT INTO {service}.outbox (user_id, bucket, event_id, topic, key, headers, payload)
    VALUES (0, $1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
POISON = {
    "no JSON": b"{not json",
    "too deep": b"[" * 10_000,
    "no UTF-8": b'{"user_id": "\xff\xfe"}',
    "a NUL": b'{"user_id": "\\u0000"}',
}


async def end_a_trial(superuser_dsn: str) -> None:
    """End the newest trial now."""
    await _run(superuser_dsn, END_TRIAL)


@asynccontextmanager
async def failing_trades(superuser_dsn: str) -> AsyncIterator[None]:
    """Make analytics fail to store one tenant's trades; enter once an event was parked for it."""
    user_id = await _run(superuser_dsn, LATEST_TRADER)
    if user_id is None:
        yield
        return
    await _run(superuser_dsn, BREAK_TRADES % user_id, whole=True)
    try:
        await _wait_until_parked(superuser_dsn)
        yield
    finally:
        await heal(superuser_dsn)


async def publish_poison(superuser_dsn: str, topic: str, poison: str) -> str:
    """Publish an event of no user through the outbox of a service that may publish to the topic. Returns its id."""
    service = BY_TOPIC[topic].sources()[0]
    event_id = str(new_id())
    version = "9" * 4301 if "digits" in poison else "1"
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_source": service,
        "ce_type": topic,
        "ce_time": instant_text(utc_now()),
        "ce_dataschema": f"tradefleet:{topic}:{version}",
    }
    key = f"{service}:{NOBODY}" if topic == MarketInterest.topic else str(NOBODY)
    row = (bucket_of(key), event_id, topic, key, json.dumps(headers), POISON.get(poison, b"{}"))
    await _run(superuser_dsn, PUBLISH.format(service=service), *row)
    return event_id


async def heal(superuser_dsn: str) -> None:
    """Remove the provoked failure."""
    await _run(superuser_dsn, REPAIR_TRADES, whole=True)


async def _wait_until_parked(superuser_dsn: str) -> None:
    for _ in range(int(PARKED_WITHIN_S / POLL_INTERVAL_S)):
        if await _run(superuser_dsn, PARKED):
            return
        await asyncio.sleep(POLL_INTERVAL_S)


async def _run(dsn: str, statements: str, *arguments: object, whole: bool = False) -> object:
    """Run a query and return its first value, or several statements (`whole`), which return no value.

    Retries while the server is down or a lock is held. Raises TimeoutError after `DONE_WITHIN_S`.
    """
    fault: Exception | None = None
    try:
        async with asyncio.timeout(DONE_WITHIN_S):
            while True:
                try:
                    return await _run_once(dsn, statements, *arguments, whole=whole)
                except CONNECTION_LOST as error:
                    fault = error
                    await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        raise TimeoutError(f"Postgres did not run {statements!r}: {fault!r}") from None


async def _run_once(dsn: str, statements: str, *arguments: object, whole: bool) -> object:
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        return await (connection.execute(statements) if whole else connection.fetchval(statements, *arguments))
    finally:
        connection.terminate()
