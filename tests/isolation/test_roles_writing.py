"""Each service's roles try to write foreign rows: to change them, to replace them, and to reference them."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from stack.migrate import SERVICES
from tests.architecture.catalogue import QUEUES
from tests.isolation.conftest import Filled, Intruder
from tests.isolation.filled import A, B, Table, attempt, refused, set_tenant

Try = Callable[..., Awaitable[asyncpg.PostgresError | str]]


def writable(filled: Filled, intruder: Intruder, privilege: str) -> list[Table]:
    """Return the tables this role writes under a tenant policy. The queue role's policy is `true` on queues."""
    return [
        table
        for table in filled.tenants
        if table.may(intruder.login, privilege) and not (intruder.role == "queue" and table.name in QUEUES)
    ]


@pytest.fixture
async def try_as_a(intruder: Intruder) -> Try:
    """Return a function that tries a statement in a transaction of tenant A."""

    async def try_statement(statement: str, *values: object) -> asyncpg.PostgresError | str:
        transaction = intruder.connection.transaction()
        await transaction.start()
        try:
            await set_tenant(intruder.connection, intruder.role, A)
            return await attempt(intruder.connection, statement, *values)
        finally:
            await transaction.rollback()

    return try_statement


async def test_a_tenant_writes_own_rows(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    """Proves that the refusals below depend on the row's owner alone.

    Where a tenant can have only one row, the error is that it exists already.
    """
    for table in writable(filled, intruder, "INSERT"):
        row = table.row(A, new=True)
        answer = await try_as_a(table.insert(row), *row.values())
        assert answer == "INSERT 0 1" or refused(answer, asyncpg.UniqueViolationError), f"{table.full}: {answer}"


async def test_a_row_of_another_is_refused(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    """Also in a worker's batch of one tenant with another's id in it, with and without the referenced rows."""
    for table in writable(filled, intruder, "INSERT"):
        for row in (table.row(B, new=True), table.row(A, new=True, user_id=B), table.row(B)):
            assert refused(await try_as_a(table.insert(row), *row.values())), table.full


async def test_a_reference_to_a_foreign_row_is_refused(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "INSERT"):
        for reference in table.references:
            foreign = table.row(B)
            columns = [column for column in reference.columns if column != "user_id"]
            if not any(foreign[column] != table.row(A)[column] for column in columns):
                continue
            row = table.row(A, new=True, **{column: foreign[column] for column in columns})
            answer = await try_as_a(table.insert(row), *row.values())
            assert refused(answer, asyncpg.ForeignKeyViolationError), f"{table.full} {reference.name}: {answer}"


async def test_a_row_cannot_be_moved_to_another_tenant(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "UPDATE"):
        assert refused(await try_as_a(f"UPDATE {table.full} SET user_id = {B}")), table.full
        column = table.updatable[intruder.login]
        own = await try_as_a(f"UPDATE {table.full} SET {column} = {column}")
        assert own == "UPDATE 1" or refused(own, asyncpg.ForeignKeyViolationError), f"{table.full}: {own}"


async def test_rows_of_another_are_not_changed(
    filled: Filled, intruder: Intruder, superuser: asyncpg.Connection, try_as_a: Try
) -> None:
    """Addressed by the tenant's id, by row address, by a join, and with unchanged values."""
    for table in writable(filled, intruder, "UPDATE"):
        column = table.updatable[intruder.login]
        value = str(A) if column == "user_id" else column
        place = await superuser.fetchval(f"SELECT ctid::text FROM {table.full} WHERE user_id = {B}")
        for where in (
            f"WHERE user_id = {B}",
            f"WHERE ctid = '{place}' AND user_id <> {A}",
            f"WHERE NOT user_id = {A}",
        ):
            for statement in (
                f"UPDATE {table.full} SET {column} = {value} {where}",
                f"UPDATE {table.full} SET {column} = {column} {where} RETURNING user_id",
            ):
                assert await try_as_a(statement) == "UPDATE 0", statement
        others = f"(VALUES ({B}::bigint)) AS other (id)"
        foreign = "other.id" if column == "user_id" else column
        joined = f"UPDATE {table.full} SET {column} = {foreign} FROM {others} WHERE user_id = other.id"
        assert await try_as_a(joined) == "UPDATE 0", joined


async def test_rows_of_another_are_not_removed(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "DELETE"):
        assert await try_as_a(f"DELETE FROM {table.full} WHERE user_id = {B}") == "DELETE 0", table.full
        everything = await try_as_a(f"DELETE FROM {table.full}")
        assert everything == "DELETE 1" or refused(everything, asyncpg.ForeignKeyViolationError), table.full
        assert await try_as_a(f"DELETE FROM {table.full} WHERE user_id <> {A} RETURNING user_id") == "DELETE 0"


async def test_on_conflict_reaches_no_row_of_another(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "INSERT"):
        insert, foreign = table.insert(table.row(B)), table.row(B)
        assert refused(await try_as_a(f"{insert} ON CONFLICT DO NOTHING", *foreign.values())), table.full
        if table.may(intruder.login, "UPDATE"):
            for change in (f"user_id = {A}", "user_id = EXCLUDED.user_id"):
                statement = f"{insert} ON CONFLICT ({await key_of(intruder, table)}) DO UPDATE SET {change}"
                assert refused(await try_as_a(statement, *foreign.values())), statement


async def test_a_merge_reaches_no_row_of_another(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "UPDATE"):
        if table.may(intruder.login, "SELECT"):
            ids = f"(VALUES ({B}::bigint)) AS other (id)"
            found = f"MERGE INTO {table.full} AS t USING {ids} ON t.user_id = other.id"
            column = table.updatable[intruder.login]
            change = f"{column} = {A if column == 'user_id' else f't.{column}'}"
            statement = f"{found} WHEN MATCHED THEN UPDATE SET {change}"
            assert await try_as_a(statement) == "MERGE 0", statement


async def test_writing_without_a_grant_is_denied(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    """Partitions, locators, tables of other services, and tables that this role only reads."""
    for table in filled.tables:
        some = next(iter(table.columns), "user_id")
        for privilege, statement in {
            "INSERT": f"INSERT INTO {table.full} DEFAULT VALUES",
            "UPDATE": f"UPDATE {table.full} SET {some} = NULL",
            "DELETE": f"DELETE FROM {table.full}",
            "TRUNCATE": f"TRUNCATE {table.full} CASCADE",
        }.items():
            if not table.may(intruder.login, privilege):
                assert refused(await try_as_a(statement)), statement


@pytest.mark.parametrize("service", SERVICES)
def test_the_role_that_sees_all_tenants_reaches_only_queues(filled: Filled, service: str) -> None:
    reached = {table.name for table in filled.tenants if table.allowed[f"{service}_queue"]}
    assert reached
    assert reached <= QUEUES


async def key_of(intruder: Intruder, table: Table) -> str:
    columns: str = await intruder.connection.fetchval(
        """
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY x.n) FROM pg_constraint k
        CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS x (number, n)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.number
        WHERE k.conrelid = $1::text::regclass AND k.contype = 'p'
        """,
        table.full,
    )
    return columns
