"""Functions that run as the owner, called by each role that may, with arguments that ask for too much."""

from collections.abc import AsyncIterator, Iterator
from itertools import product

import asyncpg
import pytest

from stack.migrate import ROOT, SERVICES, DatabaseAccess
from tests.isolation.filled import LOGINS, A, B, fill, set_tenant

# By argument type; a function with another type fails here until values are added.
HOSTILE = {
    "timestamp with time zone": (
        "NULL",
        "'infinity'",
        "'-infinity'",
        "now() + interval '1 day'",
        "now() + interval '51 years'",
        "'2199-12-31Z'",
        "'294276-12-31Z'",
        "'1900-01-01Z'",
    ),
    "integer": ("NULL", "-1", "-2147483648", "2147483647"),
    "bigint": ("NULL", "-1", "0", str(A), str(B), "9223372036854775807"),
    "uuid": ("NULL", "gen_random_uuid()", "'00000000-0000-0000-0000-000000000000'"),
    "bytea": ("NULL", "''", "sha256('x')"),
    "text": ("NULL", "''", "repeat('x', 100000)", "'; DROP TABLE outbox'"),
    "boolean": ("NULL", "true", "false"),
    "jsonb": ("NULL", "'{}'", "'[]'"),
    "uuid[]": ("NULL", "'{}'", "ARRAY[gen_random_uuid(), NULL]"),
    "bigint[]": ("NULL", "'{}'", f"ARRAY[{A}, {B}, NULL]"),
    "text[]": ("NULL", "'{}'", "ARRAY['x', NULL]"),
    "interval": ("NULL", "'-100 years'", "'100 years'", "'0'"),
    "inet": ("NULL", "'0.0.0.0/0'", "'::/0'"),
}
FUNCTIONS = """
    SELECT n.nspname || '.' || p.proname AS name, p.prorettype = 'trigger'::regtype AS is_trigger,
           ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS kinds
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prosecdef AND n.nspname = ANY ($1::text[]) AND has_function_privilege($2, p.oid, 'EXECUTE') ORDER BY 1
"""
MOMENTS = """
    SELECT a.attrelid::regclass::text AS table,
           string_agg(format('%I = now() - interval ''1 hour''', a.attname), ', ') AS changes
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
          AND a.atttypid = 'timestamptz'::regtype AND a.attgenerated = '' AND NOT a.attisdropped
          AND NOT EXISTS (SELECT FROM pg_partitioned_table p
                          WHERE p.partrelid = c.oid AND a.attnum = ANY (p.partattrs))
    GROUP BY 1
"""


@pytest.fixture
async def of_today(database_access: DatabaseAccess, postgres: str) -> AsyncIterator[asyncpg.Connection]:
    """A database where every table has a row of two tenants, each an hour old."""
    superuser = await asyncpg.connect(postgres, database=database_access.name)
    try:
        await fill(superuser)
        await superuser.execute("SET session_replication_role = replica")
        for row in await superuser.fetch(MOMENTS, SERVICES):
            await superuser.execute(f"UPDATE {row['table']} SET {row['changes']}")
        # A finished backtest is not in the queue any more; a row there would protect it from deletion.
        await superuser.execute("DELETE FROM trading.backtest_jobs; SET session_replication_role = origin")
        yield superuser
    finally:
        await superuser.close()


async def contents(superuser: asyncpg.Connection) -> dict[str, int]:
    """Count the rows of each table, partitions included."""
    tables = await superuser.fetch(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p')",
        SERVICES,
    )
    return {row["name"]: await superuser.fetchval(f"SELECT count(*) FROM {row['name']}") for row in tables}


def calls(name: str, kinds: list[str]) -> Iterator[str]:
    for arguments in product(*(HOSTILE[kind] for kind in kinds)):
        typed = (f"{argument}::{kind}" for argument, kind in zip(arguments, kinds, strict=True))
        yield f"SELECT {name}({', '.join(typed)})"


async def test_no_argument_makes_them_exceed_their_purpose(
    of_today: asyncpg.Connection, database_access: DatabaseAccess
) -> None:
    """No row of today is deleted, no locator of another tenant claimed, no table created for a remote month."""
    await of_today.execute("SELECT trading.forget_backtests(now(), 1)")  # not even for the owner
    before = await contents(of_today)
    tried = 0
    for service, role in LOGINS:
        connection = await asyncpg.connect(database_access.dsn(f"{service}_{role}"))
        try:
            for function in await of_today.fetch(FUNCTIONS, SERVICES, f"{service}_{role}"):
                assert not function["is_trigger"]
                for call in calls(function["name"], function["kinds"]):
                    tried += await _commits(connection, role, call)
        finally:
            await connection.close()
    assert tried > 100
    after = await contents(of_today)
    claimed = {name for name in after if name.endswith("_locator")}
    assert {name: rows for name, rows in after.items() if name not in claimed} == {
        name: rows for name, rows in before.items() if name not in claimed
    }
    for name in claimed:
        others = await of_today.fetchval(f"SELECT count(*) FROM {name} WHERE user_id NOT IN ({A}, {B})")
        assert others == 0, name
        assert after[name] >= before[name], name


async def _commits(connection: asyncpg.Connection, role: str, call: str) -> bool:
    """Call the function as tenant A and commit; return whether it was not refused."""
    try:
        async with connection.transaction():
            await set_tenant(connection, role, A)
            await connection.execute(call)
    except asyncpg.PostgresError:
        return False
    return True


async def test_old_rows_are_deleted_in_bounded_batches(
    of_today: asyncpg.Connection, database_access: DatabaseAccess
) -> None:
    await of_today.execute(
        "UPDATE trading.backtests SET ended_at = now() - interval '3 days' WHERE user_id = $1", A
    )
    connection = await asyncpg.connect(database_access.dsn("trading_queue"))
    try:
        assert await connection.fetchval("SELECT forget_backtests(now() + interval '1 day', 2147483647)") == 1
        assert await connection.fetchval("SELECT forget_backtests(now() + interval '1 day', 2147483647)") == 0
    finally:
        await connection.close()
    left = await of_today.fetch("SELECT DISTINCT user_id FROM trading.backtests")
    assert [row["user_id"] for row in left] == [B]


def test_locks_are_taken_only_through_the_functions_of_the_schema() -> None:
    """The services' roles may not call Postgres' own lock functions."""
    files = [file for folder in ("services", "shared") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 200
    assert [
        str(file) for file in files if "pg_advisory" in (text := file.read_text()) or "pg_try_advisory" in text
    ] == []


async def test_locks_of_one_service_do_not_block_another(database_access: DatabaseAccess) -> None:
    """Each service holds all the locks it can, and every other service still gets its own."""
    held: list[asyncpg.Connection] = []
    try:
        for service in SERVICES:
            queue = await asyncpg.connect(database_access.dsn(f"{service}_queue"))
            held.append(queue)
            await queue.execute("BEGIN")
            for bucket in range(256):
                assert await queue.fetchval("SELECT lock_outbox_bucket($1)", bucket), f"{service}: {bucket}"
            app = await asyncpg.connect(database_access.dsn(f"{service}_app"))
            held.append(app)
            await app.execute("BEGIN")
            await set_tenant(app, "app", A)
            assert await app.fetchval("SELECT try_lock_idempotency_key('k')"), service
            other = await asyncpg.connect(database_access.dsn(f"{service}_app"))
            held.append(other)
            await other.execute("BEGIN")
            await set_tenant(other, "app", A)
            assert not await other.fetchval("SELECT try_lock_idempotency_key('k')"), service
            await set_tenant(other, "app", B)
            assert await other.fetchval("SELECT try_lock_idempotency_key('k')"), service
            await other.execute("SELECT lock_for_tenant('strategies')")
    finally:
        for connection in held:
            await connection.close()
