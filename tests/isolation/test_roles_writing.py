"""Each service's roles write what is not theirs: rows of others, onto rows of others, rows that hang on them."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from stack.migrate import SERVICES
from tests.architecture.catalogue import QUEUES
from tests.isolation.conftest import Filled, Intruder
from tests.isolation.filled import A, B, Table, attempt, become, refused

Try = Callable[..., Awaitable[asyncpg.PostgresError | str]]


def writable(filled: Filled, intruder: Intruder, privilege: str) -> list[Table]:
    """By this role, which a policy holds to its tenants: the queue's is `true` on queues."""
    return [
        table
        for table in filled.tenants
        if table.may(intruder.login, privilege) and not (intruder.role == "queue" and table.name in QUEUES)
    ]


@pytest.fixture
async def try_as_a(intruder: Intruder) -> Try:
    """A statement in a transaction of the first tenant's."""

    async def trying(statement: str, *values: object) -> asyncpg.PostgresError | str:
        transaction = intruder.connection.transaction()
        await transaction.start()
        try:
            await become(intruder.connection, intruder.role, A)
            return await attempt(intruder.connection, statement, *values)
        finally:
            await transaction.rollback()

    return trying


async def test_a_tenant_writes_for_himself(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    """So that what is refused below is refused for its owner and for nothing else. Where a tenant can have one row
    only, it is that he has it already."""
    for table in writable(filled, intruder, "INSERT"):
        row = table.row(A, new=True)
        answer = await try_as_a(table.insert(row), *row.values())
        assert answer == "INSERT 0 1" or refused(answer, asyncpg.UniqueViolationError), f"{table.full}: {answer}"


async def test_a_row_of_another_is_refused(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    """A worker's batch of one tenant with another's id in it, too; with or without what it would hang on."""
    for table in writable(filled, intruder, "INSERT"):
        for row in (table.row(B, new=True), table.row(A, new=True, user_id=B), table.row(B)):
            assert refused(await try_as_a(table.insert(row), *row.values())), table.full


async def test_a_row_that_hangs_on_anothers_is_refused(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "INSERT"):
        for reference in table.references:
            theirs = table.row(B)
            columns = [column for column in reference.columns if column != "user_id"]
            if not any(theirs[column] != table.row(A)[column] for column in columns):
                continue
            row = table.row(A, new=True, **{column: theirs[column] for column in columns})
            answer = await try_as_a(table.insert(row), *row.values())
            assert refused(answer, asyncpg.ForeignKeyViolationError), f"{table.full} {reference.name}: {answer}"


async def test_a_row_is_not_handed_to_another(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "UPDATE"):
        assert refused(await try_as_a(f"UPDATE {table.full} SET user_id = {B}")), table.full
        column = table.updatable[intruder.login]
        own = await try_as_a(f"UPDATE {table.full} SET {column} = {column}")
        assert own == "UPDATE 1" or refused(own, asyncpg.ForeignKeyViolationError), f"{table.full}: {own}"


async def test_rows_of_another_are_not_changed(
    filled: Filled, intruder: Intruder, superuser: asyncpg.Connection, try_as_a: Try
) -> None:
    """By his id, by their place in the file, by a join, with what was there given back."""
    for table in writable(filled, intruder, "UPDATE"):
        column = table.updatable[intruder.login]
        taken = str(A) if column == "user_id" else column
        place = await superuser.fetchval(f"SELECT ctid::text FROM {table.full} WHERE user_id = {B}")
        for where in (
            f"WHERE user_id = {B}",
            f"WHERE ctid = '{place}' AND user_id <> {A}",
            f"WHERE NOT user_id = {A}",
        ):
            for statement in (
                f"UPDATE {table.full} SET {column} = {taken} {where}",
                f"UPDATE {table.full} SET {column} = {column} {where} RETURNING user_id",
            ):
                assert await try_as_a(statement) == "UPDATE 0", statement
        others = f"(VALUES ({B}::bigint)) AS other (id)"
        theirs = "other.id" if column == "user_id" else column
        joined = f"UPDATE {table.full} SET {column} = {theirs} FROM {others} WHERE user_id = other.id"
        assert await try_as_a(joined) == "UPDATE 0", joined


async def test_rows_of_another_are_not_removed(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "DELETE"):
        assert await try_as_a(f"DELETE FROM {table.full} WHERE user_id = {B}") == "DELETE 0", table.full
        everything = await try_as_a(f"DELETE FROM {table.full}")
        assert everything == "DELETE 1" or refused(everything, asyncpg.ForeignKeyViolationError), table.full
        assert await try_as_a(f"DELETE FROM {table.full} WHERE user_id <> {A} RETURNING user_id") == "DELETE 0"


async def test_a_conflict_reaches_no_row_of_another(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "INSERT"):
        insert, theirs = table.insert(table.row(B)), table.row(B)
        assert refused(await try_as_a(f"{insert} ON CONFLICT DO NOTHING", *theirs.values())), table.full
        if table.may(intruder.login, "UPDATE"):
            for change in (f"user_id = {A}", "user_id = EXCLUDED.user_id"):
                statement = f"{insert} ON CONFLICT ({await key_of(intruder, table)}) DO UPDATE SET {change}"
                assert refused(await try_as_a(statement, *theirs.values())), statement


async def test_a_merge_reaches_no_row_of_another(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    for table in writable(filled, intruder, "UPDATE"):
        if table.may(intruder.login, "SELECT"):
            ids = f"(VALUES ({B}::bigint)) AS other (id)"
            found = f"MERGE INTO {table.full} AS t USING {ids} ON t.user_id = other.id"
            column = table.updatable[intruder.login]
            change = f"{column} = {A if column == 'user_id' else f't.{column}'}"
            statement = f"{found} WHEN MATCHED THEN UPDATE SET {change}"
            assert await try_as_a(statement) == "MERGE 0", statement


async def test_what_is_not_granted_is_not_written(filled: Filled, intruder: Intruder, try_as_a: Try) -> None:
    """Partitions, locators, other services' tables, and what this role only reads."""
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
def test_the_role_that_sees_all_tenants_reaches_queues_only(filled: Filled, service: str) -> None:
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
