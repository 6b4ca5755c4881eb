"""Migrations that change rows, on a database with rows: they are counted before and checked after."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.chassis.clock import utc_now
from shared.contracts.types import to_ms
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import Fill
from stack.failure import BadInput
from stack.migrate import OWNER, SERVICES, DatabaseAccess, migrate
from tests.backend import PASSWORD
from tests.isolation.before import before_migration, migrations, works_on_rows

EVENT_DAYS, FINITE_EXPIRY, TELLING = "0002_event_days.sql", "0103_finite_expiry.sql", "0111_telling.sql"
PLAN_VERSIONS = "0110_plan_versions.sql"
STRATEGIES, SESSIONS = "0120_strategies.sql", "0121_sessions.sql"
BACKTESTS = "0130_backtests.sql"
WHOLE_FACTS = "0110_whole_facts.sql"
OUTBOX_OF_THIS_SERVICE = "0060_outbox_of_this_service.sql"  # tested in test_outbox.py
USERNAMES = "0122_usernames.sql"
TRIED = {EVENT_DAYS, FINITE_EXPIRY, PLAN_VERSIONS, TELLING, STRATEGIES, SESSIONS, BACKTESTS, WHOLE_FACTS}
TRIED |= {OUTBOX_OF_THIS_SERVICE, USERNAMES}
PLAN_LIMITS, ENTITLED_LIMITS = "0130_more_limits.sql", "0160_more_limits.sql"
TRIED |= {PLAN_LIMITS, ENTITLED_LIMITS}
ONE_PUBLIC_ID, OPEN_TRADES, OUTCOMES = (
    "0051_one_public_id.sql",
    "0150_trades_follow_fills.sql",
    "0151_decision_outcomes.sql",
)
TRIED |= {ONE_PUBLIC_ID, OPEN_TRADES, OUTCOMES}
RUNNING_FINGERPRINTS = "0180_running_fingerprints.sql"
SESSION_CURSORS = "0190_session_cursors.sql"
TRIED |= {RUNNING_FINGERPRINTS, SESSION_CURSORS}
TENANTS = (1, 2, 3)
DAYS = (0, 1, 9, 40)  # days ago


def test_every_migration_that_changes_rows_is_tested_here() -> None:
    """If this fails for a new migration: fill a database with `before_migration`, migrate, and check the rows."""
    assert {file.name for file in migrations() if works_on_rows(file.read_text())} == TRIED


@pytest.mark.parametrize(
    ("sql", "does"),
    [
        ("UPDATE parked SET state = 'HALTED' WHERE halted;", True),
        ("delete from inbox where received_at < now();", True),
        ("INSERT INTO outbox (id, user_id)\nOVERRIDING SYSTEM VALUE\nSELECT id, user_id FROM outbox_before;", True),
        ("CREATE TABLE a (b text); INSERT INTO a VALUES ('x');", False),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\nUPDATE a SET b = 1;\nEND\n$$;", False),
        ("UPDATE a AS t SET b = 1 FROM c;", True),
        ("-- UPDATE a SET b = 1\nALTER TABLE a ADD c text;", False),
        ("DO $$\nBEGIN\n    UPDATE a SET b = 1;\nEND\n$$;", True),
    ],
)
def test_migrations_that_change_rows_are_recognised(sql: str, does: bool) -> None:
    assert works_on_rows(sql) == does


async def test_events_move_into_their_days_with_every_value(postgres: str) -> None:
    """Sent, unsent and dead events of several tenants and days; a halted event becomes HALTED."""
    async with before_migration(postgres, EVENT_DAYS) as (access, superuser):
        for service in SERVICES:
            await _write_events(superuser, service)
        before = {service: await _events(superuser, service) for service in SERVICES}
        await migrate(access)
        for service in SERVICES:
            after = await _events(superuser, service)
            assert after == before[service], service
            assert len(after["outbox"]) == len(after["inbox"]) == len(TENANTS) * len(DAYS) * 3
            assert await _states(superuser, service) == {"HALTED": len(TENANTS), "WAITING": 2 * len(TENANTS)}
            await _assert_in_their_days(superuser, service)
            highest = max(row["id"] for row in after["outbox"])
            assert await _next_id(superuser, service) > highest, f"{service}: ids begin again"


async def _write_events(connection: asyncpg.Connection, service: str) -> None:
    now = utc_now()
    own = {"ce_source": service, "ce_type": "activity.recorded"}
    for user_id in TENANTS:
        for ago in DAYS:
            moment = now - timedelta(days=ago)
            for number in range(3):
                event_id = _id_of(moment)
                sent, dead = (moment if number == 0 else None), ("too large" if number == 2 else None)
                await connection.execute(
                    f"""
                    INSERT INTO {service}.outbox (user_id, bucket, event_id, topic, key, headers, payload,
                                                  created_at, sent_at, dead_reason)
                    VALUES ($1, 3, $2, 'activity.recorded', $1::bigint::text, $3, $4, $5, $6, $7)
                    """,
                    *(user_id, event_id, json.dumps({"n": number, **own}), b"\x00\xff" + str(ago).encode()),
                    *(moment, sent, dead),
                )
                await connection.execute(
                    f"INSERT INTO {service}.inbox (user_id, consumer, event_id, body_sha256, received_at) "
                    "VALUES ($1, 'x', $2, $3, $4)",
                    *(user_id, event_id, event_id.bytes, moment),
                )
        for number in range(3):
            await connection.execute(
                f"""
                INSERT INTO {service}.parked (user_id, consumer, event_id, topic, key, headers, payload, halted,
                                              reason, kafka_partition, kafka_offset)
                VALUES ($1, 'x', $2, 'trade.closed', 'k', '{{}}', 'p', $3, 'why', 0, 0)
                """,
                *(user_id, uuid4(), number == 0),
            )


def _id_of(moment: datetime) -> UUID:
    """Return a UUIDv7 of that time."""
    milliseconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | uuid4().int & ((1 << 62) - 1))


async def _events(connection: asyncpg.Connection, service: str) -> dict[str, list[asyncpg.Record]]:
    columns = {
        "outbox": "id, user_id, bucket, event_id, topic, key, headers, payload, created_at, sent_at, dead_reason",
        "inbox": "user_id, consumer, event_id, body_sha256, received_at",
        "parked": "id, user_id, consumer, event_id, topic, headers, payload, attempts, next_attempt_at, reason",
    }
    return {
        table: list(await connection.fetch(f"SELECT {listed} FROM {service}.{table} ORDER BY user_id, event_id"))
        for table, listed in columns.items()
    }


async def _states(connection: asyncpg.Connection, service: str) -> dict[str, int]:
    rows = await connection.fetch(f"SELECT state, count(*) AS n FROM {service}.parked GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def _assert_in_their_days(connection: asyncpg.Connection, service: str) -> None:
    for table, column in (("outbox", "created_at"), ("inbox", "received_at")):
        rows = await connection.fetch(
            f"SELECT tableoid::regclass::text AS lies_in, {column} FROM {service}.{table}"
        )
        for row in rows:
            day = row[column].astimezone(UTC).strftime("%Y_%m_%d")
            assert row["lies_in"] == f"{service}.{table}_{day}"


async def _next_id(connection: asyncpg.Connection, service: str) -> int:
    number: int = await connection.fetchval(f"SELECT nextval(pg_get_serial_sequence('{service}.outbox', 'id'))")
    return number


async def test_extreme_expiries_become_null_or_past(postgres: str) -> None:
    async with before_migration(postgres, FINITE_EXPIRY) as (access, superuser):
        expiries = {"infinity": None, "-infinity": "1970", "0044-03-15 BC": "1970", "2027-01-31": "2027"}
        for user_id, moment in enumerate(expiries, 1):
            await superuser.execute(
                f"""
                INSERT INTO notifications.user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval,
                                                       alert_type, condition_data, expires_at)
                VALUES ({user_id}, gen_random_uuid(), gen_random_uuid(), 'a', 'A', '1', 'PRICE', '{{}}', '{moment}')
                """
            )
        await migrate(access)
        year = "to_char(expires_at AT TIME ZONE 'UTC', 'YYYY') AS year"
        rows = await superuser.fetch(f"SELECT {year} FROM notifications.user_alerts ORDER BY user_id")
        assert [row["year"] for row in rows] == list(expiries.values())


async def test_every_past_plan_of_a_user_becomes_a_history_entry(postgres: str) -> None:
    async with before_migration(postgres, PLAN_VERSIONS) as (access, superuser):
        for user_id in TENANTS:
            await superuser.execute(
                f"INSERT INTO billing.subscribers (user_id, public_id) VALUES ({user_id}, gen_random_uuid())"
            )
            for month, (plan_id, status) in enumerate(((2, "EXPIRED"), (1, "CANCELLED"), (3, "ACTIVE")), 1):
                await superuser.execute(
                    f"""
                    INSERT INTO billing.user_subscriptions (user_id, subscription_id, plan_id, status, reason,
                        start_date, end_date, trial_end_date, current_period_start, current_period_end)
                    SELECT {user_id}, gen_random_uuid(), {plan_id}, '{status}', 'reason {month}', begun,
                           CASE '{status}' WHEN 'ACTIVE' THEN NULL ELSE begun + interval '1 day' END,
                           CASE {month} WHEN 1 THEN begun + interval '1 day' END, begun, begun + interval '1 day'
                    FROM (SELECT timestamptz '2026-0{month}-01Z' AS begun) AS month
                    """
                )
        await migrate(access)
        rows = await superuser.fetch(
            "SELECT user_id, change_number, plan_id, previous_plan_id, status, reason FROM billing.plan_changes "
            "ORDER BY user_id, change_number"
        )
    steps = [(1, 2, None, "TRIAL", "reason 1"), (2, 1, 2, "ACTIVE", "reason 2"), (3, 3, 1, "ACTIVE", "reason 3")]
    assert [tuple(row) for row in rows] == [(user_id, *step) for user_id in TENANTS for step in steps]


async def test_existing_messages_are_numbered_in_order(postgres: str) -> None:
    async with before_migration(postgres, TELLING) as (access, superuser):
        await superuser.execute(
            """
            SET search_path = notifications;
            SELECT prepare_inbox_month('2026-01-31Z'), prepare_inbox_month('2026-02-01Z');
            INSERT INTO user_system_events (user_id, event_id, timestamp, event_type, event_category, message)
            SELECT u, uuidv7(make_interval(mins => n)), timestamptz '2026-01-30Z' + make_interval(days => n % 4),
                   'X', 'ALERT', n::text
            FROM generate_series(1, 3) u, generate_series(1, 5) n WHERE u < 3 OR n = 1;
            RESET search_path
            """
        )
        await migrate(access)
        rows = await superuser.fetch(
            "SELECT user_id, position, message FROM notifications.user_system_events ORDER BY user_id, event_id"
        )
        numbered = [(user_id, number, str(number)) for user_id in (1, 2) for number in range(1, 6)]
        assert [tuple(row) for row in rows] == [*numbered, (3, 1, "1")]
        inboxes = await superuser.fetch("SELECT user_id, last_position FROM notifications.inboxes ORDER BY user_id")
        assert [tuple(row) for row in inboxes] == [(1, 5), (2, 5), (3, 1)]


TRADED = """
    SET search_path = trading;
    INSERT INTO user_strategies (user_id, strategy_id, strategy_name, strategy_config, entry_conditions,
                                 risk_management, content_hash, is_active)
    SELECT n, id(n), 's', '{}', '{}', '{}', 'h', n <> 3 FROM generate_series(1, 3) AS n;
    INSERT INTO strategy_versions (user_id, strategy_id, version, content_hash, document)
    SELECT n, id(n), 1, 'h', '{}' FROM generate_series(1, 3) AS n;
    INSERT INTO user_trading_sessions (user_id, session_id, public_id, strategy_id, strategy_version, strategy_hash,
                                       venue, symbol, interval, strategy_config, is_paper_trading, start_time,
                                       initial_balance, fee_rate, slippage, highest_equity)
    SELECT n, id(n), id(n), id(n), 1, 'h', 'bybit', 'A', '1', '{}', true, now(), 100, 0, 0, 100
    FROM generate_series(1, 3) AS n;
    -- Each tenant: a trade of 5 with two closes, one of -2, and one that is open.
    INSERT INTO user_trades (user_id, trade_id, session_id, strategy_id, strategy_hash, symbol, side, status,
                             entry_time, entry_price, quantity, pnl, is_paper_trade)
    SELECT n, id(10 * n + t), id(n), id(n), 'h', 'A', 'LONG', CASE t WHEN 3 THEN 'OPEN' ELSE 'CLOSED' END,
           now() + t * interval '1 hour', 1, 1, (ARRAY[5, -2, NULL])[t], true
    FROM generate_series(1, 3) AS n, generate_series(1, 3) AS t;
    INSERT INTO fills (user_id, session_id, fill_number, trade_id, time, action, side, qty, price, fee, reason)
    SELECT n, id(n), f, id(10 * n + (ARRAY[1, 1, 1, 2, 2, 3])[f]), now(), (ARRAY['open', 'close', 'close', 'open',
           'close', 'open'])[f], 'LONG', 1, 1, 0, 'signal'
    FROM generate_series(1, 3) AS n, generate_series(1, 6) AS f;
"""
ID = """
    CREATE FUNCTION trading.id(n bigint) RETURNS uuid LANGUAGE sql
    AS $$ SELECT lpad(n::text, 32, '0')::uuid $$
"""


async def test_strategies_get_the_sums_of_their_trades_and_retired_ones_stay_retired(postgres: str) -> None:
    async with before_migration(postgres, STRATEGIES) as (access, superuser):
        await superuser.execute(ID)
        await superuser.execute(TRADED)
        await migrate(access)
        rows = await superuser.fetch("SELECT * FROM trading.user_strategies ORDER BY user_id")
        assert [(row["total_uses"], row["winning_trades"], row["total_pnl"]) for row in rows] == [(2, 1, 3)] * 3
        assert [row["deleted_at"] is not None for row in rows] == [False, False, True]


async def test_open_trades_are_updated_from_their_fills(postgres: str) -> None:
    async with before_migration(postgres, OPEN_TRADES) as (access, superuser):
        await superuser.execute(ID)
        await superuser.execute(TRADED)
        await superuser.execute("UPDATE fills SET fee = fill_number, late = fill_number = 3")
        await migrate(access)
        rows = await superuser.fetch("SELECT closed_quantity, fee, late FROM trading.user_trades ORDER BY trade_id")
        assert [tuple(row) for row in rows] == [(2, 6, True), (1, 9, False), (0, 6, False)] * 3


async def test_running_sessions_get_the_fingerprint_of_their_fills(postgres: str) -> None:
    async with before_migration(postgres, RUNNING_FINGERPRINTS) as (access, superuser):
        await superuser.execute(ID)
        await superuser.execute(TRADED)
        await superuser.execute(
            """
            UPDATE fills SET qty = fill_number * 1.50, price = 1e2 + 0.1230 * fill_number,
                   time = '2026-01-01T00:00:00.001Z'::timestamptz + fill_number * interval '1 hour';
            DELETE FROM fills WHERE user_id = 3;
            UPDATE user_trading_sessions SET fingerprint = 'kept' WHERE user_id = 2
            """
        )
        await migrate(access)
        rows = await superuser.fetch("SELECT fingerprint FROM trading.user_trading_sessions ORDER BY user_id")
        stored = await superuser.fetch("SELECT * FROM trading.fills WHERE user_id = 1 ORDER BY fill_number")
    names = ("action", "side", "qty", "price", "fee", "reason")
    fills = [Fill(to_ms(row["time"]), *(row[name] for name in names)) for row in stored]
    assert len(fills) == 6
    assert [row["fingerprint"] for row in rows] == [fingerprint(fills), "kept", fingerprint([])]


async def test_sessions_keep_their_cursors(postgres: str) -> None:
    """One running, one stopped, one that has not stepped yet."""
    first, last = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (0, 1))
    async with before_migration(postgres, SESSION_CURSORS) as (access, superuser):
        await superuser.execute(ID)
        await superuser.execute(TRADED)
        await superuser.execute(
            """
            UPDATE user_trading_sessions SET first_bar = $1, last_bar = $2,
                   status = CASE user_id WHEN 2 THEN 'STOPPED' ELSE status END
            WHERE user_id < 3
            """,
            first,
            last,
        )
        (kept, *_) = await superuser.fetch("SELECT updated_at FROM user_trading_sessions ORDER BY user_id")
        await migrate(access)
        rows = await superuser.fetch("SELECT * FROM trading.session_cursors ORDER BY user_id")
    assert [(row["first_bar"], row["last_bar"], row["ended"]) for row in rows] == [
        (first, last, False),
        (first, last, True),
        (None, None, False),
    ]
    assert rows[0]["moved_at"] == kept["updated_at"]


async def test_existing_decisions_get_their_outcome(postgres: str) -> None:
    """One filled, one dropped in a session that continued, one refused as too small, and one still pending."""
    async with before_migration(postgres, OUTCOMES) as (access, superuser):
        await superuser.execute(ID)
        await superuser.execute(TRADED)
        await superuser.execute(
            """
            UPDATE user_trading_sessions SET last_bar = '2026-01-01T04:00:00Z';
            INSERT INTO decisions (user_id, decision_id, session_id, time, kind, side, reason, outcome, values,
                                   checks, strategy_hash)
            SELECT 1, id(100 + n), id(1), '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 hour', 'entry',
                   'LONG', 'signal', (ARRAY['pending', 'pending', 'too_small', 'pending'])[n], '{}', '{}', 'h'
            FROM generate_series(1, 4) AS n;
            UPDATE fills SET decision_id = id(101) WHERE user_id = 1 AND fill_number = 1;
            """
        )
        await migrate(access)
        rows = await superuser.fetch(
            "SELECT outcome, refusal, until IS NULL AS lasts FROM trading.decisions ORDER BY decision_id"
        )
        assert [tuple(row) for row in rows] == [
            ("filled", None, False),
            ("dropped", None, False),
            ("refused", "too_small", False),
            ("pending", None, True),
        ]


async def test_the_first_of_two_public_ids_of_a_user_is_kept(postgres: str) -> None:
    async with before_migration(postgres, ONE_PUBLIC_ID) as (access, superuser):
        for public_id, user_id in ((b"a", 1), (b"b", 1), (b"c", 2)):
            await superuser.execute("INSERT INTO trading.user_locator VALUES ($1, $2)", public_id, user_id)
        await migrate(access)
        rows = await superuser.fetch("SELECT public_id_sha256, user_id FROM trading.user_locator ORDER BY 1")
        assert [tuple(row) for row in rows] == [(b"a", 1), (b"c", 2)]


async def test_closing_fills_get_the_equity_and_sessions_get_locators(postgres: str) -> None:
    async with before_migration(postgres, SESSIONS) as (access, superuser):
        await superuser.execute(ID)
        await superuser.execute(TRADED)
        await migrate(access)
        rows = await superuser.fetch("SELECT equity FROM trading.fills ORDER BY user_id, fill_number")
        assert [row["equity"] for row in rows] == [None, None, 105, None, 103, None] * 3
        found = await superuser.fetch("SELECT locate_session(id(n)) FROM generate_series(1, 4) AS n")
        assert [row[0] for row in found] == [1, 2, 3, None]


async def test_existing_entitlements_get_their_backtest_limits(postgres: str) -> None:
    async with before_migration(postgres, BACKTESTS) as (access, superuser):
        for user_id, plan in enumerate(("FREE", "PREMIUM", "PRO"), 1):
            await superuser.execute(
                """
                INSERT INTO trading.entitlements (user_id, public_id, subscription_version, plan, status)
                VALUES ($1, gen_random_uuid(), 1, $2, 'ACTIVE')
                """,
                *(user_id, plan),
            )
        await migrate(access)
        rows = await superuser.fetch(
            "SELECT has_backtesting, max_backtests_per_day FROM trading.entitlements ORDER BY user_id"
        )
        assert [tuple(row) for row in rows] == [(False, 0), (True, 100), (True, None)]
        rows = await superuser.fetch(
            "SELECT max_running_sessions, max_stored_strategies FROM trading.entitlements ORDER BY user_id"
        )
        assert [tuple(row) for row in rows] == [(3, 10), (50, 100), (1000, 1000)]


async def test_every_version_of_a_plan_gets_the_limits_of_its_name(postgres: str) -> None:
    async with before_migration(postgres, PLAN_LIMITS) as (access, superuser):
        await superuser.execute(
            """
            INSERT INTO billing.subscription_plans OVERRIDING SYSTEM VALUE
            SELECT (p).* FROM (SELECT jsonb_populate_record(NULL::billing.subscription_plans, to_jsonb(plan)
                || jsonb_build_object('plan_id', plan_id + 100, 'version', 2, 'is_active', false)) AS p
                FROM billing.subscription_plans AS plan) AS copies
            """
        )
        await migrate(access)
        rows = await superuser.fetch(
            """
            SELECT name, max_running_sessions, max_stored_strategies FROM billing.subscription_plans
            ORDER BY version, price_monthly
            """
        )
        assert [tuple(row) for row in rows] == [("FREE", 3, 10), ("PREMIUM", 50, 100), ("PRO", 1000, 1000)] * 2


async def test_every_user_with_facts_gets_a_round(postgres: str) -> None:
    async with before_migration(postgres, WHOLE_FACTS) as (access, superuser):
        await superuser.execute("INSERT INTO analytics.user_zones (user_id) SELECT generate_series(1, 3)")
        await migrate(access)
        rows = await superuser.fetch("SELECT user_id FROM analytics.user_rounds ORDER BY user_id")
        assert [row["user_id"] for row in rows] == list(TENANTS)


async def test_the_first_of_several_users_keeps_a_shared_username(postgres: str) -> None:
    async with before_migration(postgres, USERNAMES) as (access, superuser):
        for user_id, username in enumerate(("Ada", "bob", "ADA", None, " ada ", "Bobby"), 1):
            await superuser.execute(
                """
                INSERT INTO auth.users (user_id, public_id, email, password_hash, username, timezone, language)
                VALUES ($1, gen_random_uuid(), $1::bigint || '@example.org', 'x', $2, 'UTC', 'en')
                """,
                *(user_id, username),
            )
        await migrate(access)
        rows = await superuser.fetch("SELECT username FROM auth.users ORDER BY user_id")
        assert [row["username"] for row in rows] == ["Ada", "bob", None, None, None, "Bobby"]
        located = await superuser.fetch("SELECT user_id FROM auth.username_locator ORDER BY user_id")
        assert [row["user_id"] for row in located] == [1, 2, 6]


@pytest.fixture
async def blind_owner(postgres: str, database_access: DatabaseAccess) -> AsyncIterator[asyncpg.Connection]:
    """A role that owns the tables of analytics and lacks BYPASSRLS."""
    role = f"owner_{uuid4().hex[:12]}"
    superuser = await asyncpg.connect(postgres, database=database_access.name)
    await superuser.execute(
        f"""
        CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';
        ALTER SCHEMA analytics OWNER TO {role};
        ALTER TABLE analytics.watchlist OWNER TO {role};
        INSERT INTO analytics.watchlist (user_id, watch_id, symbol, interval, ema_period)
        SELECT n, gen_random_uuid(), 'BTCUSDT', '15', 5 FROM generate_series(1, 7) AS n
        """
    )
    owner = await asyncpg.connect(postgres, database=database_access.name, user=role, password=PASSWORD)
    try:
        yield owner
    finally:
        await owner.close()
        await superuser.execute(f"REASSIGN OWNED BY {role} TO {OWNER}; DROP OWNED BY {role}; DROP ROLE {role}")
        await superuser.close()


async def test_an_owner_without_bypassrls_silently_changes_nothing(
    blind_owner: asyncpg.Connection, postgres: str, database_access: DatabaseAccess
) -> None:
    """The trap: the role owns the table, the statement succeeds, and no row is changed. See docs/decisions/0002."""
    update = "UPDATE analytics.watchlist SET ema_period = 6"
    assert await blind_owner.execute(update) == "UPDATE 0"
    role = await blind_owner.fetchval("SELECT current_user")
    superuser = await asyncpg.connect(postgres, database=database_access.name)
    try:
        await superuser.execute(f"ALTER ROLE {role} BYPASSRLS")
        assert await blind_owner.execute(update) == "UPDATE 7"
        await superuser.execute(f"ALTER TABLE analytics.watchlist OWNER TO {OWNER}")
    finally:
        await superuser.close()


async def test_migrations_refuse_an_owner_without_bypassrls(
    blind_owner: asyncpg.Connection, database_access: DatabaseAccess
) -> None:
    role = await blind_owner.fetchval("SELECT current_user")

    class Blind(DatabaseAccess):
        @property
        def owner_dsn(self) -> str:
            return f"postgresql://{role}:{PASSWORD}@{self.host}:{self.port}/{self.name}"

    access = Blind(database_access.host, database_access.port, database_access.name, database_access.passwords)
    with pytest.raises(BadInput, match="BYPASSRLS"):
        await migrate(access)
