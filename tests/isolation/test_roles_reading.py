"""Each service's roles try to read foreign rows, from every table and in every known way."""

import asyncpg
import pytest

from tests.architecture.catalogue import LOCATOR, QUEUES
from tests.isolation.conftest import Filled, Intruder
from tests.isolation.filled import LOGINS, A, B, Table, attempt, set_tenant

DENIED = asyncpg.InsufficientPrivilegeError
# Values of the setting that are no valid tenant. Blank and unset both mean no tenant.
HOSTILE = (
    *("", " ", "abc", "1 OR 1", f"{A} OR 1=1", f"{A};", f"{A}'--", f"{A},{B}x", "NULL", "{}", f"{{{A},{B}}}", "*"),
    *("%", "-1", "0", "1e2", f"{A}.0", "0x", "9" * 19, "9" * 40, "1" * 100_000, ",", f"{A},,{B}", "\n", "١٠١"),
)


def readable(filled: Filled, intruder: Intruder) -> list[Table]:
    """Return the tables on which only the policy separates this role from all rows."""
    return [
        table
        for table in filled.tenants
        if table.may(intruder.login, "SELECT") and not (intruder.role == "queue" and table.name in QUEUES)
    ]


async def owners(connection: asyncpg.Connection, table: Table) -> set[int]:
    return {row["user_id"] for row in await connection.fetch(f"SELECT user_id FROM {table.full}")}


async def test_both_tenants_have_a_row_in_every_table(filled: Filled, superuser: asyncpg.Connection) -> None:
    assert len(filled.tenants) > 35
    for table in filled.tenants:
        assert await owners(superuser, table) == {A, B}, table.full


async def test_a_role_sees_nothing_before_a_tenant_is_set(filled: Filled, intruder: Intruder) -> None:
    for table in readable(filled, intruder):
        assert await owners(intruder.connection, table) == set(), table.full


async def test_a_role_sees_its_own_tenant_and_no_other(filled: Filled, intruder: Intruder) -> None:
    tables = readable(filled, intruder)
    assert tables or intruder.role == "queue" or intruder.login == "auth_worker"
    for tenant in (A, B, A):
        async with intruder.connection.transaction():
            await set_tenant(intruder.connection, intruder.role, tenant)
            for table in tables:
                assert await owners(intruder.connection, table) == {tenant}, table.full
    for table in tables:
        assert await owners(intruder.connection, table) == set(), f"{table.full} after the transaction"


async def test_no_setting_but_its_own_opens_anything(filled: Filled, intruder: Intruder) -> None:
    """A request's tenant setting means nothing to a worker, and a batch's tenants mean nothing to a request."""
    others = {"app": ("app.user_ids",), "worker": ("app.user_id",), "queue": ("app.user_id", "app.user_ids")}
    async with intruder.connection.transaction():
        for name in (*others[intruder.role], "app.user", "user_id"):
            with_dot = name if "." in name else f"app.{name}s_"
            await intruder.connection.execute("SELECT set_config($1, $2, true)", with_dot, str(A))
        for table in readable(filled, intruder):
            assert await owners(intruder.connection, table) == set(), table.full


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
@pytest.mark.parametrize("role", ["app", "worker"])
async def test_an_invalid_tenant_shows_nothing(filled: Filled, text: str, role: str) -> None:
    for service, _ in LOGINS[::3]:
        connection = await asyncpg.connect(filled.access.dsn(f"{service}_{role}"))
        try:
            for table in readable(filled, Intruder(service, role, connection)):
                transaction = connection.transaction()
                await transaction.start()
                try:
                    await set_tenant(connection, role, text)
                    assert await owners(connection, table) == set(), table.full
                except (asyncpg.DataError, asyncpg.ProgramLimitExceededError):
                    pass
                finally:
                    await transaction.rollback()
        finally:
            await connection.close()


async def test_row_security_cannot_be_switched_off(filled: Filled, intruder: Intruder) -> None:
    async with intruder.connection.transaction():
        await intruder.connection.execute("SET LOCAL row_security = off")
        for table in readable(filled, intruder):
            with pytest.raises(DENIED):
                async with intruder.connection.transaction():
                    await intruder.connection.fetch(f"SELECT * FROM {table.full}")


async def test_reading_without_a_grant_is_denied(filled: Filled, intruder: Intruder) -> None:
    """Partitions, locators, tables of other services, and own tables that are only written."""
    denied = [table for table in filled.tables if not table.may(intruder.login, "SELECT")]
    assert {table.service for table in denied} >= {service for service, _ in LOGINS} - {intruder.service}
    assert any(table.is_partition and table.service == intruder.service for table in denied)
    assert any(LOCATOR in table.name and table.service == intruder.service for table in denied)
    for table in denied:
        for statement in (f"SELECT 1 FROM {table.full}", f"SELECT count(*) FROM {table.full}"):
            assert isinstance(await attempt(intruder.connection, statement), DENIED), statement


async def test_a_prepared_statement_shows_only_the_current_tenant(filled: Filled, intruder: Intruder) -> None:
    """Prepared by the driver, prepared in SQL, and with a generic plan, which Postgres makes at the sixth
    execution."""
    connection = intruder.connection
    for table in readable(filled, intruder):
        await connection.execute("RESET plan_cache_mode")
        prepared = await connection.prepare(f"SELECT user_id FROM {table.full}")
        await connection.execute(f"PREPARE kept AS SELECT user_id FROM {table.full}")
        for turn in range(16):
            if turn == 8:
                await connection.execute("SET plan_cache_mode = force_generic_plan")
            tenant = (A, B)[turn % 2] if turn > 6 else A
            async with connection.transaction():
                await set_tenant(connection, intruder.role, tenant)
                assert {row["user_id"] for row in await prepared.fetch()} == {tenant}, table.full
                assert {row["user_id"] for row in await connection.fetch("EXECUTE kept")} == {tenant}, table.full
        assert await prepared.fetch() == [], table.full
        assert await connection.fetch("EXECUTE kept") == [], table.full
        await connection.execute("DEALLOCATE kept")


async def test_row_addresses_give_no_access(
    filled: Filled, intruder: Intruder, superuser: asyncpg.Connection
) -> None:
    for table in readable(filled, intruder):
        places = [
            row["ctid"] for row in await superuser.fetch(f"SELECT ctid::text FROM {table.full} WHERE user_id = {B}")
        ]
        async with intruder.connection.transaction():
            await set_tenant(intruder.connection, intruder.role, A)
            for place in places:
                found = await intruder.connection.fetch(
                    f"SELECT user_id FROM {table.full} WHERE ctid = '{place}'::tid OR ctid >= '(0,0)'"
                )
                assert {row["user_id"] for row in found} == {A}, table.full


async def test_copy_returns_only_own_rows(filled: Filled, intruder: Intruder) -> None:
    for table in readable(filled, intruder):
        read = bytearray()

        async def take(data: bytes, read: bytearray = read) -> None:
            read.extend(data)

        async with intruder.connection.transaction():
            await set_tenant(intruder.connection, intruder.role, A)
            await intruder.connection.copy_from_query(f"SELECT user_id FROM {table.full}", output=take)
            if not table.name.startswith(("outbox", "inbox")):
                await _copy_whole(intruder.connection, table, take)
        assert str(A).encode() in read, table.full
        assert str(B).encode() not in read, table.full


async def _copy_whole(connection: asyncpg.Connection, table: Table, take: object) -> None:
    """Copy the table by its name; a partitioned table cannot be copied that way."""
    try:
        async with connection.transaction():
            await connection.copy_from_table(table.name, schema_name=table.service, output=take)
    except asyncpg.WrongObjectTypeError:
        pass


async def test_statistics_show_no_values(filled: Filled, intruder: Intruder) -> None:
    """pg_stats shows the most common values of a column, but only for tables without policies."""
    shown = await intruder.connection.fetch(
        "SELECT DISTINCT schemaname || '.' || tablename FROM pg_stats WHERE schemaname = ANY ($1::text[])",
        sorted({service for service, _ in LOGINS}),
    )
    assert not {row[0] for row in shown} & {table.full for table in filled.tables if table.of_tenant}
    for catalogue in ("pg_statistic", "pg_statistic_ext_data", "pg_largeobject", "pg_authid", "pg_user_mapping"):
        assert isinstance(await attempt(intruder.connection, f"SELECT * FROM pg_catalog.{catalogue}"), DENIED)


async def test_running_queries_of_others_are_not_visible(intruder: Intruder, superuser: asyncpg.Connection) -> None:
    await superuser.execute("SELECT 'a secret of another'")
    pid = await superuser.fetchval("SELECT pg_backend_pid()")
    seen = await intruder.connection.fetchrow("SELECT query, client_addr FROM pg_stat_activity WHERE pid = $1", pid)
    assert seen is not None
    assert (seen["query"], seen["client_addr"]) == ("<insufficient privilege>", None)


async def test_large_objects_of_others_are_closed(intruder: Intruder, superuser: asyncpg.Connection) -> None:
    async with superuser.transaction():
        number = await superuser.fetchval("SELECT lo_from_bytea(0, 'a secret')")
    try:
        for call in (f"lo_get({number})", f"lo_put({number}, 0, 'x')", f"lo_unlink({number})"):
            assert isinstance(await attempt(intruder.connection, f"SELECT {call}"), DENIED), call
    finally:
        await superuser.execute(f"SELECT lo_unlink({number})")
