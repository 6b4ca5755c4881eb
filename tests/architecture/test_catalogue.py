"""Isolation as the database has it, read from its catalogue after the migrations."""

import asyncpg
import pytest

from cli.stack.migrate import SERVICES, DatabaseAccess

# Seen across tenants by the queue role, and nothing else is.
QUEUES = {"outbox", "parked", "market_interests", "session_leases", "subscription_deadlines"}
# Hashed value → user id, reached through one function each, without any grant.
LOCATOR = "locator"

TABLES = """
    SELECT n.nspname AS service, c.relname AS name, c.oid, c.relrowsecurity AS enabled,
           c.relforcerowsecurity AS forced, c.relispartition AS is_partition
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p')
          AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'user_id')
    ORDER BY 1, 2
"""
POLICIES = """
    SELECT schemaname AS service, tablename AS name, policyname AS policy, roles::text[] AS roles, qual, with_check
    FROM pg_policies WHERE schemaname = ANY ($1::text[])
"""
KEYS = """
    SELECT n.nspname || '.' || c.relname || ' ' || k.conname AS key, k.contype::text AS kind,
           (SELECT array_agg(a.attname::text ORDER BY x.n) FROM unnest(k.conkey) WITH ORDINALITY AS x (num, n)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.num) AS columns,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attname = 'user_id') AS to_tenant
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY ($1::text[]) AND k.contype IN ('p', 'u', 'f') AND NOT c.relispartition
          AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'user_id')
          AND c.relname NOT LIKE '%locator%'
"""
UNIQUE_INDEXES = """
    SELECT n.nspname || '.' || c.relname AS name, a.attname::text AS first
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
    WHERE n.nspname = ANY ($1::text[]) AND i.indisunique AND NOT t.relispartition
          AND EXISTS (SELECT FROM pg_attribute x WHERE x.attrelid = t.oid AND x.attname = 'user_id')
          AND t.relname NOT LIKE '%locator%'
"""
GRANTS = """
    SELECT grantee, table_schema AS service, table_name AS name, privilege_type AS privilege
    FROM information_schema.role_table_grants
    WHERE table_schema = ANY ($1::text[]) AND grantee <> 'tradefleet_owner'
"""


@pytest.fixture
async def owner(database_access: DatabaseAccess) -> asyncpg.Connection:
    connection = await asyncpg.connect(database_access.owner_dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def test_every_tenant_table_is_forced(owner: asyncpg.Connection) -> None:
    tables = [row for row in await owner.fetch(TABLES, SERVICES) if not row["is_partition"]]
    assert len(tables) > 30
    for table in tables:
        if LOCATOR not in table["name"]:
            assert table["enabled"], f"{table['service']}.{table['name']} has no row-level security"
            assert table["forced"], f"{table['service']}.{table['name']} is not forced"


async def test_every_policy_is_one_of_three(owner: asyncpg.Connection) -> None:
    for policy in await owner.fetch(POLICIES, SERVICES):
        where = f"{policy['service']}.{policy['name']} {policy['policy']}"
        service = policy["service"]
        assert policy["qual"] == policy["with_check"], where
        if policy["policy"] == "one_tenant":
            assert policy["roles"] == [f"{service}_app"], where
            assert "user_id" in policy["qual"], where
            assert "app.user_id'" in policy["qual"], where
        elif policy["policy"] == "tenants_of_batch":
            assert policy["roles"] == [f"{service}_worker"], where
            assert "app.user_ids" in policy["qual"], where
        else:
            assert (policy["policy"], policy["roles"]) == ("queue", [f"{service}_queue"]), where
            assert policy["name"] in QUEUES, f"{where}: the queue role may not see this table"


async def test_whoever_may_touch_a_tenant_table_has_a_policy_on_it(owner: asyncpg.Connection) -> None:
    tenant_tables = {(row["service"], row["name"]) for row in await owner.fetch(TABLES, SERVICES)}
    policies = {
        (row["service"], row["name"], role)
        for row in await owner.fetch(POLICIES, SERVICES)
        for role in row["roles"]
    }
    for grant in await owner.fetch(GRANTS, SERVICES):
        table = (grant["service"], grant["name"])
        if table in tenant_tables:
            assert (*table, grant["grantee"]) in policies, f"{grant['grantee']} on {table} has no policy"


async def test_keys_begin_with_the_tenant_and_references_carry_it(owner: asyncpg.Connection) -> None:
    for key in await owner.fetch(KEYS, SERVICES):
        if key["kind"] in "pu":
            assert key["columns"][0] == "user_id", f"{key['key']} does not begin with user_id"
        elif key["to_tenant"]:
            assert "user_id" in key["columns"], f"{key['key']} does not carry user_id"
    for index in await owner.fetch(UNIQUE_INDEXES, SERVICES):
        assert index["first"] == "user_id", f"{index['name']} does not begin with user_id"


async def test_locators_and_partitions_are_granted_to_nobody(owner: asyncpg.Connection) -> None:
    partitions = {
        (row["service"], row["name"]) for row in await owner.fetch(TABLES, SERVICES) if row["is_partition"]
    }
    for grant in await owner.fetch(GRANTS, SERVICES):
        assert LOCATOR not in grant["name"], f"{grant['grantee']} reaches {grant['name']}"
        assert (grant["service"], grant["name"]) not in partitions, f"{grant['grantee']} reaches a partition"


async def test_roles_are_small(owner: asyncpg.Connection) -> None:
    rows = await owner.fetch(
        r"""
        SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolinherit FROM pg_roles
        WHERE rolname ~ '_(app|worker|queue)$' AND rolname NOT LIKE 'pg\_%'
        """
    )
    assert {row["rolname"] for row in rows} >= {
        f"{service}_{role}" for service in SERVICES for role in ("app", "worker", "queue")
    }
    for row in rows:
        assert not any(row[1:6]), f"{row['rolname']} may too much"
    for grant in await owner.fetch(GRANTS, SERVICES):
        assert grant["grantee"].rsplit("_", 1)[0] == grant["service"], f"{grant} crosses a schema"
        assert grant["privilege"] in ("SELECT", "INSERT", "UPDATE", "DELETE"), f"{grant}"


async def test_no_reference_crosses_a_schema(owner: asyncpg.Connection) -> None:
    crossing = await owner.fetch(
        """
        SELECT k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        JOIN pg_class r ON r.oid = k.confrelid
        WHERE k.contype = 'f' AND c.relnamespace <> r.relnamespace
        """
    )
    assert not crossing


async def test_definer_functions_fix_their_search_path(owner: asyncpg.Connection) -> None:
    functions = await owner.fetch(
        """
        SELECT n.nspname || '.' || p.proname AS name, p.proconfig AS settings,
               has_function_privilege('public', p.oid, 'EXECUTE') AS public
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef
        """
    )
    assert {row["name"] for row in functions} >= {f"{service}.locate_user" for service in SERVICES}
    for function in functions:
        assert any(s.startswith("search_path=") for s in function["settings"] or []), function["name"]
        assert not function["public"], f"{function['name']} may be called by everybody"


async def test_numbers_of_money_are_never_nan(owner: asyncpg.Connection) -> None:
    unchecked = await owner.fetch(
        """
        SELECT n.nspname || '.' || c.relname || '.' || a.attname AS column
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY ($1::text[]) AND a.atttypid = 'numeric'::regtype AND c.relkind IN ('r', 'p')
              AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'
                              AND a.attnum = ANY (k.conkey) AND pg_get_constraintdef(k.oid) LIKE '%NaN%')
        """,
        SERVICES,
    )
    assert not unchecked, sorted(row["column"] for row in unchecked)


async def test_no_column_holds_a_float_and_every_time_has_a_zone(owner: asyncpg.Connection) -> None:
    wrong = await owner.fetch(
        """
        SELECT table_schema || '.' || table_name || '.' || column_name AS column, data_type
        FROM information_schema.columns
        WHERE table_schema = ANY ($1::text[])
              AND data_type IN ('real', 'double precision', 'money', 'timestamp without time zone')
        """,
        SERVICES,
    )
    assert not wrong
