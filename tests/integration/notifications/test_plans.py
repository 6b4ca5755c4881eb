"""Frequent queries use their indexes on a filled database."""

from typing import cast
from uuid import UUID

import asyncpg

from services.notifications.queries import firings, inbox
from services.notifications.queries.firings import LIST_CONDITIONS, LIST_DUE_ALERTS
from services.notifications.queries.inbox import COUNT_UNREAD, LIST_CHANGES, InboxFilter
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import from_ms
from shared.market.demand import FIND_USERS, FIND_USERS_OF_SERIES
from stack.migrate import DatabaseAccess
from tests.plans import Recorder, explain

FILL = """
    SET search_path = notifications;
    SELECT prepare_inbox_month(m) FROM generate_series('2026-01-01Z'::timestamptz, '2026-06-01Z', '1 month') m;
    INSERT INTO user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type, condition_data)
    SELECT u, gen_random_uuid(), gen_random_uuid(), n, 'S' || n % 10, '15', 'PRICE',
           jsonb_build_object('value', 100 * u + n)
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


BY_CREATION = inbox.ORDERS["created_at"]


async def plan_of_inbox(connection: Connection, unread: bool, wanted: Slice) -> str:
    recorder = Recorder()
    criteria = InboxFilter(unread, *[None] * 6)
    await inbox.list_inbox(cast(Connection, recorder), 1, criteria, wanted)
    return await explain(connection, recorder)


async def test_reads_use_their_indexes(database: Database, database_access: DatabaseAccess) -> None:
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute(FILL)
    await owner.execute("VACUUM notifications.user_alerts")  # as in operation: then an index alone is enough
    await owner.close()
    async with database.tenants(range(1, 20)) as connection:
        users, series = list(range(1, 20)), (["S1", "S2"], ["15", "15"])
        plan = str(await connection.fetch("EXPLAIN " + LIST_CONDITIONS, users, *series))
        assert "alerts_of_series" in plan
        due = ([b"x", b"y"], *series, [from_ms(0), from_ms(0)])
        plan = str(await connection.fetch("EXPLAIN " + LIST_DUE_ALERTS, *series, *due))
        assert "alerts_by_condition" in plan
        assert "alerts_by_end" in plan
        assert "Seq Scan" not in plan
    async with database.tenant(1) as connection:
        for after in (None, (UUID(int=2**127),)):
            for descending in (False, True):
                for unread in (False, True):
                    plan = await plan_of_inbox(connection, unread, Slice(BY_CREATION, 51, after, descending))
                    assert "Seq Scan" not in plan
                    assert plan.count("Index Scan") >= 6
        plan = str(await connection.fetch("EXPLAIN " + LIST_CHANGES, 1, 1990, 2000, 100))
        assert "Seq Scan" not in plan
        assert plan.count("user_id_position_idx") >= 6
        plan = str(await connection.fetch("EXPLAIN " + COUNT_UNREAD, 1))
        assert "Seq Scan" not in plan
        alert_id = await connection.fetchval("SELECT alert_id FROM user_alerts LIMIT 1")
        for descending in (False, True):
            recorder = Recorder()
            wanted = Slice(firings.ORDERS["open_time"], 51, (from_ms(0),), descending)
            await firings.list_firings(cast(Connection, recorder), 1, alert_id, wanted)
            assert "alert_firings_pkey" in await explain(connection, recorder)
    async with database.queue() as connection:
        plan = str(await connection.fetch("EXPLAIN " + FIND_USERS, "S1", "15"))
        together = str(await connection.fetch("EXPLAIN " + FIND_USERS_OF_SERIES, ["S1"], ["15"]))
    assert "market_interests_by_series" in plan
    assert "market_interests_by_series" in together
