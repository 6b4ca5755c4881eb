"""Hot queries use their indexes, on a filled database."""

import asyncpg

from cli.stack.migrate import DatabaseAccess
from services.notifications.queries.firings import FIND_OWNERS, LIST_ACTIVE_ALERTS
from services.notifications.queries.inbox import LIST_INBOX
from shared.chassis.postgres import Database

FILL = """
    SET search_path = notifications;
    SELECT prepare_inbox_month(m) FROM generate_series('2026-01-01Z'::timestamptz, '2026-06-01Z', '1 month') m;
    INSERT INTO user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type, condition_data)
    SELECT u, gen_random_uuid(), gen_random_uuid(), n, 'S' || n % 10, '15', 'PRICE', '{}'
    FROM generate_series(1, 200) u, generate_series(1, 100) n;
    INSERT INTO market_interests (user_id, object_id, symbol, interval)
    SELECT user_id, alert_id, symbol, interval FROM user_alerts;
    INSERT INTO user_system_events (user_id, event_id, timestamp, event_type, event_category, message)
    SELECT u, uuidv7('-1 day'), '2026-01-01Z'::timestamptz + make_interval(hours => 2 * n), 'X', 'ALERT', 'x'
    FROM generate_series(1, 20) u, generate_series(1, 2000) n;
    ANALYZE user_alerts, market_interests, user_system_events;
"""


async def test_reads_use_their_indexes(database: Database, database_access: DatabaseAccess) -> None:
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute(FILL)
    await owner.close()
    async with database.tenants(range(1, 20)) as connection:
        plan = str(await connection.fetch("EXPLAIN " + LIST_ACTIVE_ALERTS, list(range(1, 20)), "S1", "15"))
    assert "alerts_of_series" in plan
    async with database.tenant(1) as connection:
        for unread in (False, True):
            plan = str(await connection.fetch("EXPLAIN " + LIST_INBOX, 1, unread, None, None, 51))
            assert "Seq Scan" not in plan
            assert plan.count("Index Scan") >= 6
    async with database.queue() as connection:
        plan = str(await connection.fetch("EXPLAIN " + FIND_OWNERS, "S1", "15"))
    assert "market_interests_by_series" in plan
