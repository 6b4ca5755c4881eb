"""Each service's roles try to gain privileges, and to reach data outside of tables."""

from collections.abc import Iterator
from dataclasses import replace

import asyncpg
import pytest

from stack.migrate import OWNER
from tests.isolation.conftest import Filled, Intruder
from tests.isolation.filled import LOGINS, A, B, attempt, refused, set_tenant

SOME = "outbox"  # a table that every service has
# Each is refused to each role. {schema} is its own schema, {role} its own name.
ESCAPES = (
    "ALTER ROLE {role} SUPERUSER",
    "ALTER ROLE {role} BYPASSRLS",
    "ALTER ROLE {role} CREATEROLE",
    f"ALTER ROLE {OWNER} PASSWORD 'known'",
    f"GRANT {OWNER} TO {{role}}",
    "GRANT pg_read_all_data TO {role}",
    "CREATE ROLE leak SUPERUSER",
    "DROP OWNED BY {role}, tradefleet_owner",
    "SET session_replication_role = replica",
    "SET log_min_duration_statement = 0",
    "SELECT pg_reload_conf()",
    f"ALTER TABLE {SOME} DISABLE ROW LEVEL SECURITY",
    f"ALTER TABLE {SOME} NO FORCE ROW LEVEL SECURITY",
    f"ALTER TABLE {SOME} OWNER TO {{role}}",
    f"ALTER TABLE {SOME} ADD COLUMN leak text",
    f"CREATE POLICY leak ON {SOME} USING (true)",
    f"DROP POLICY queue ON {SOME}",
    f"ALTER POLICY queue ON {SOME} TO PUBLIC",
    f"DROP TABLE {SOME}",
    f"CREATE TRIGGER leak AFTER INSERT ON {SOME} FOR EACH ROW EXECUTE FUNCTION touch_updated_at()",
    f"CREATE RULE leak AS ON INSERT TO {SOME} DO ALSO NOTHING",
    f"CREATE INDEX leak ON {SOME} (user_id)",
    "CALL tenant_table('outbox', app => 'SELECT', worker => '')",
    "CREATE TABLE {schema}.leak (x text)",
    "CREATE TABLE public.leak (x text)",
    f"CREATE TEMP TABLE {SOME} (user_id bigint)",
    f"CREATE TEMP VIEW {SOME} AS SELECT 1",
    "CREATE TEMP SEQUENCE leak",
    "CREATE VIEW {schema}.leak AS SELECT 1",
    "CREATE SCHEMA leak",
    "CREATE FUNCTION {schema}.leak() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION public.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$SELECT '1'$$",
    "CREATE FUNCTION pg_temp.leak() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OPERATOR public.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = int8ne)",
    "CREATE EXTENSION dblink",
    "CREATE PUBLICATION leak FOR ALL TABLES",
    "SELECT pg_create_logical_replication_slot('leak', 'pgoutput')",
    "CREATE SERVER leak FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE LANGUAGE plpython3u",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/leak'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_ls_waldir()",
    "SELECT pg_current_logfile()",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/leak')",
    "SELECT lo_creat(-1)",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_open(1, 131072)",
    "SELECT lo_get(1)",
    "SELECT lo_put(1, 0, 'x')",
    "SELECT loread(1, 1)",
    "SELECT lowrite(1, 'x')",
    "SELECT lo_unlink(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_advisory_lock(1, 1)",
    "SELECT pg_advisory_lock_shared(1)",
    "SELECT pg_advisory_xact_lock(hashtext('trading.outbox'), 0)",
    "SELECT pg_advisory_xact_lock_shared(1, 1)",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1)",
    "SELECT pg_try_advisory_xact_lock(hashtext('trading.outbox'), 0)",
    "SELECT pg_try_advisory_xact_lock_shared(1)",
    "SELECT pg_advisory_unlock(1)",
    "SELECT pg_notify('leak', 'x')",
    "SELECT pg_logical_emit_message(false, 'leak', 'x')",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_file_settings",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT query_to_xml('SELECT * FROM pg_authid', true, true, '')",
    "SELECT pg_stat_reset()",
    "SELECT pg_switch_wal()",
)
# Without the extension's files on this server, no role can create it.
NOT_THERE = (asyncpg.UndefinedObjectError, asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError)
NEEDS_FILES = ("CREATE EXTENSION", "CREATE LANGUAGE", "CREATE SERVER")


@pytest.mark.parametrize("statement", ESCAPES)
async def test_no_role_gets_further(filled: Filled, statement: str) -> None:
    for service, role in LOGINS:
        connection = await asyncpg.connect(filled.access.dsn(f"{service}_{role}"))
        try:
            answer = await attempt(connection, statement.format(schema=service, role=f"{service}_{role}"))
        finally:
            await connection.close()
        others = NOT_THERE if statement.startswith(NEEDS_FILES) else ()
        assert refused(answer, asyncpg.InsufficientPrivilegeError, *others), f"{service}_{role}: {answer!r}"


async def test_no_role_sets_up_the_server(intruder: Intruder) -> None:
    """Statements that cannot run in a transaction."""
    for statement in (
        "ALTER SYSTEM SET log_statement = 'all'",
        "CREATE DATABASE leak",
        "CREATE TABLESPACE leak LOCATION '/'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await intruder.connection.execute(statement)


async def test_no_role_switches_to_another(
    filled: Filled, intruder: Intruder, superuser: asyncpg.Connection
) -> None:
    roles = [row["rolname"] for row in await superuser.fetch("SELECT rolname FROM pg_roles")]
    assert OWNER in roles
    for other in roles:
        if other != intruder.login:
            for statement in (
                f'SET ROLE "{other}"',
                f'SET LOCAL ROLE "{other}"',
                f'SET SESSION AUTHORIZATION "{other}"',
                f"SELECT set_config('role', '{other}', true)",
                f"SELECT set_config('session_authorization', '{other}', true)",
            ):
                assert refused(await attempt(intruder.connection, statement)), statement
    for harmless in (
        "SET ROLE NONE",
        "RESET ROLE",
        "RESET SESSION AUTHORIZATION",
        "SET SESSION AUTHORIZATION DEFAULT",
    ):
        assert await attempt(intruder.connection, harmless) in ("SET", "RESET")
        assert await intruder.connection.fetchval("SELECT current_user || session_user") == intruder.login * 2


async def test_backends_of_others_are_not_ended(intruder: Intruder, superuser: asyncpg.Connection) -> None:
    pid = await superuser.fetchval("SELECT pg_backend_pid()")
    for call in ("pg_terminate_backend", "pg_cancel_backend", "pg_log_backend_memory_contexts"):
        assert refused(await attempt(intruder.connection, f"SELECT {call}({pid})")), call


async def test_no_role_gets_into_another_database(filled: Filled) -> None:
    """The databases that every server has, where data would escape all rules."""
    for service, role in LOGINS:
        for other in ("postgres", "template1"):
            access = replace(filled.access, name=other)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(access.dsn(f"{service}_{role}"))


async def test_queries_of_others_are_not_visible(intruder: Intruder, superuser: asyncpg.Connection) -> None:
    await superuser.execute("SELECT 'a value of a tenant'")
    shown = await intruder.connection.fetch(
        "SELECT query FROM pg_stat_activity WHERE usename <> current_user AND query <> '<insufficient privilege>'"
    )
    assert not any(row["query"] for row in shown)


async def test_no_sequence_is_set(intruder: Intruder, superuser: asyncpg.Connection) -> None:
    sequences = await superuser.fetch(
        "SELECT schemaname || '.' || sequencename FROM pg_sequences WHERE schemaname = ANY ($1::text[])",
        sorted({service for service, _ in LOGINS}),
    )
    assert len(sequences) > 10
    for (name,) in sequences:
        assert refused(await attempt(intruder.connection, f"SELECT setval('{name}', 1)")), name


def _locators(rows: list[asyncpg.Record]) -> Iterator[tuple[str, str]]:
    """Yield each locator with a constant value of its type."""
    for row in rows:
        value = {"uuid": "'00000000-0000-7000-8000-000000000001'::uuid", "bytea": "sha256('a value'::bytea)"}
        yield row["name"], value[row["kind"]]


LOCATORS = """
    SELECT n.nspname || '.' || p.proname AS name, format_type(p.proargtypes[0], NULL) AS kind
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prosecdef AND p.proname LIKE 'locate%' AND has_function_privilege($1, p.oid, 'EXECUTE')
          AND p.pronargs = 2 -- with a claim: one that only looks gives nothing away that it was not asked for
"""


async def set_tenant_for_both_roles(connection: asyncpg.Connection, tenant: int) -> None:
    """Set the tenant both ways: some locators are claimed in a request, some in a batch, some in either."""
    for role in ("app", "worker"):
        await set_tenant(connection, role, tenant)


async def test_a_locator_is_claimed_for_the_current_tenant_only(
    intruder: Intruder, superuser: asyncpg.Connection
) -> None:
    located = await superuser.fetch(LOCATORS, intruder.login)
    assert bool(located) == (intruder.role != "queue")
    for name, value in _locators(located):
        assert refused(await attempt(intruder.connection, f"SELECT {name}({value}, {B})")), f"{name} for nobody"
        async with intruder.connection.transaction():
            await set_tenant_for_both_roles(intruder.connection, A)
            for claim in (str(B), "0", "-1", f"{A}{A}"):
                assert refused(await attempt(intruder.connection, f"SELECT {name}({value}, {claim})")), name
            assert await attempt(intruder.connection, f"SELECT {name}({value}, {A})") == "SELECT 1", name


async def test_a_locator_returns_one_id_and_never_changes_owner(
    intruder: Intruder, superuser: asyncpg.Connection
) -> None:
    """The first tenant to claim a value keeps it; a later claim returns the owner and changes nothing.

    A user has only one public id, so a second one belongs to no user.
    """
    for name, value in _locators(await superuser.fetch(LOCATORS, intruder.login)):
        owner = None if name.endswith(".locate_user") else A
        async with intruder.connection.transaction():
            await set_tenant_for_both_roles(intruder.connection, A)
            assert await intruder.connection.fetch(f"SELECT {name}({value}, {A})") == [(owner,)], name
        async with intruder.connection.transaction():
            await set_tenant_for_both_roles(intruder.connection, B)
            assert await intruder.connection.fetch(f"SELECT {name}({value}, {B})") == [(owner,)], name
        assert await intruder.connection.fetch(f"SELECT * FROM {name}({value})") == [(owner,)], name
        assert refused(await attempt(intruder.connection, f"SELECT * FROM {name.partition('.')[0]}.user_locator"))


async def test_functions_that_run_as_the_owner_are_for_those_who_need_them(
    filled: Filled, intruder: Intruder, superuser: asyncpg.Connection
) -> None:
    """A search_path chosen by the caller does not mislead them either."""
    functions = await superuser.fetch(
        """
        SELECT n.nspname AS service, p.proname AS name, p.oid::regprocedure::text AS call,
               has_function_privilege($1, p.oid, 'EXECUTE') AND has_schema_privilege($1, n.oid, 'USAGE') AS may
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.prosecdef AND n.nspname = ANY ($2::text[])
        """,
        intruder.login,
        sorted({service for service, _ in LOGINS}),
    )
    assert all(row["service"] == intruder.service for row in functions if row["may"])
    for row in functions:
        if not row["may"] and not row["name"].startswith("forget"):
            arguments = row["call"].partition("(")[2].rstrip(")")
            values = ", ".join(f"NULL::{kind}" for kind in arguments.split(",") if kind)
            call = f"SELECT {row['service']}.{row['name']}({values})"
            assert refused(await attempt(intruder.connection, call)), call
