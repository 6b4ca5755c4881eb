"""Retention: old rows are deleted in bounded batches, newer ones stay."""

import asyncio

import asyncpg

from services.notifications.jobs import retention
from services.notifications.queries.retention import delete_expired_rows, drop_inbox_months
from shared.chassis.postgres import Database
from stack.migrate import DatabaseAccess
from tests.integration.accounts import eventually

FILL = """
    SET search_path = notifications;
    SELECT prepare_inbox_month(now() - make_interval(months => m)) FROM generate_series(0, 16) m;
    INSERT INTO user_system_events (user_id, event_id, position, timestamp, event_type, event_category, message)
    SELECT u, uuidv7(), m + 1, now() - make_interval(months => m), 'X', 'ALERT', 'x'
    FROM generate_series(1, 3) u, generate_series(0, 16) m;
    INSERT INTO deliveries (user_id, event_id, channel, event_type, state, message_id, said_at, created_at)
    SELECT u, uuidv7(), 'dashboard', 'X', 'DELIVERED', uuidv7(), now(), now() - make_interval(months => m)
    FROM generate_series(1, 3) u, generate_series(0, 16) m;
    INSERT INTO inbox_minutes (user_id, event_type, minute, told, updated_at)
    SELECT u, 'X', now() - make_interval(days => d), 1, now() - make_interval(days => d)
    FROM generate_series(1, 3) u, generate_series(0, 40) d;
    INSERT INTO user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type, condition_data)
    SELECT u, uuidv7(), uuidv7(), 'a', 'S', '15', 'PRICE', '{}' FROM generate_series(1, 3) u;
    INSERT INTO alert_firings (user_id, alert_id, open_time, created_at)
    SELECT user_id, alert_id, now() - make_interval(months => m), now() - make_interval(months => m)
    FROM user_alerts, generate_series(0, 16) m;
"""
COUNTS = """
    SELECT (SELECT count(*) FROM user_system_events), (SELECT count(*) FROM deliveries),
           (SELECT count(*) FROM inbox_minutes), (SELECT count(*) FROM alert_firings)
"""


async def filled(access: DatabaseAccess) -> asyncpg.Connection:
    owner = await asyncpg.connect(access.owner_dsn)
    await owner.execute(FILL)
    return owner


async def test_rows_are_retained_for_a_year(database: Database, database_access: DatabaseAccess) -> None:
    owner = await filled(database_access)
    stop = asyncio.Event()
    job = asyncio.create_task(retention(database).run(stop))

    async def left() -> tuple[int, ...]:
        return tuple(await owner.fetchrow(COUNTS))

    # A month's partition is dropped when its last day is a year old; rows of other tables by their own age.
    await eventually(left, lambda counts: counts == (39, 36, 93, 36))
    stop.set()
    await job
    await owner.close()


async def test_deletion_is_bounded_per_run(database: Database, database_access: DatabaseAccess) -> None:
    owner = await filled(database_access)
    async with database.queue() as connection:
        assert await delete_expired_rows(connection, 10) == 10
    assert tuple(await owner.fetchrow(COUNTS))[1:] == (41, 113, 41)
    async with database.queue() as connection:
        deleted = await drop_inbox_months(connection)
    assert len(deleted) == 4
    async with database.queue() as connection:
        assert await drop_inbox_months(connection) == []
    await owner.close()
