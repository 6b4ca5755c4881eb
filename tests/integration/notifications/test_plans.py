"""Frequent queries use their indexes on a filled database."""

import asyncpg

from services.notifications.queries.firings import FIRING_ORDERS, LIST_CONDITIONS, LIST_DUE_ALERTS
from services.notifications.queries.inbox import COUNT_UNREAD, LIST_CHANGES, LIST_INBOX
from shared.chassis.postgres import Database
from shared.contracts.types import from_ms
from shared.market.demand import FIND_USERS
from stack.migrate import DatabaseAccess

FILL = """
    SET search_path = notifications;
    SELECT prepare_inbox_month(m) FROM generate_series('2026-01-01Z'::timestamptz, '2026-06-01Z', '1 month') m;
    INSERT INTO user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type, condition_data)
    SELECT u, gen_random_uuid(), gen_random_uuid(), n, 'S' || n % 10, '15', 'PRICE', '{}'
    FROM generate_series(1, 200) u, generate_series(1, 100) n;
    INSERT INTO market_interests (user_id, object_id, symbol, interval)
    SELECT user_id, alert_id, symbol, interval FROM user_alerts;
    INSERT INTO alert_firings (user_id, alert_id, open_time)
    SELECT user_id, alert_id, '2026-01-01Z'::timestamptz + make_interval(hours => n)
    FROM user_alerts, generate_series(1, 3) n;
    INSERT INTO user_system_events (user_id, event_id, position, timestamp, event_type, event_category, message,
                                    is_read)
    SELECT u, uuidv7('-1 day'), n, '2026-01-01Z'::timestamptz + make_interval(hours => 2 * n), 'X', 'ALERT', 'x',
           n % 20 > 0
    FROM generate_series(1, 20) u, generate_series(1, 2000) n;
    ANALYZE user_alerts, alert_firings, market_interests, user_system_events;
"""


async def test_reads_use_their_indexes(database: Database, database_access: DatabaseAccess) -> None:
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute(FILL)
    await owner.close()
    async with database.tenants(range(1, 20)) as connection:
        users, series = list(range(1, 20)), ("S1", "15")
        plan = str(await connection.fetch("EXPLAIN " + LIST_CONDITIONS, users, *series))
        assert "alerts_of_series" in plan
        plan = str(await connection.fetch("EXPLAIN " + LIST_DUE_ALERTS, users, *series, [b"x", b"y"], from_ms(0)))
        assert "alerts_of_series" in plan
        assert "Seq Scan" not in plan
    async with database.tenant(1) as connection:
        for statement in LIST_INBOX.values():
            for unread in (False, True):
                values = (1, unread, *[None] * 7, 51)
                plan = str(await connection.fetch("EXPLAIN " + statement, *values))
                assert "Seq Scan" not in plan
                assert plan.count("Index Scan") >= 6
        plan = str(await connection.fetch("EXPLAIN " + LIST_CHANGES, 1, 1990, 2000, 100))
        assert "Seq Scan" not in plan
        assert plan.count("user_id_position_idx") >= 6
        plan = str(await connection.fetch("EXPLAIN " + COUNT_UNREAD, 1))
        assert "Seq Scan" not in plan
        alert_id = await connection.fetchval("SELECT alert_id FROM user_alerts LIMIT 1")
        for statement in FIRING_ORDERS.values():
            plan = str(await connection.fetch("EXPLAIN " + statement, 1, alert_id, None, 51))
            assert "alert_firings_pkey" in plan
    async with database.queue() as connection:
        plan = str(await connection.fetch("EXPLAIN " + FIND_USERS, "S1", "15"))
    assert "market_interests_by_series" in plan
