"""Every table and column of the design that this product grew from is somewhere: where, or for what it waits."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from stack.migrate import DatabaseAccess
from tests.architecture.old_design import OLD, WAITING_TABLES


@pytest.fixture
async def owner(database_access: DatabaseAccess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_access.owner_dsn)
    yield connection
    await connection.close()


@pytest.mark.parametrize("old", OLD)
async def test_a_column_of_the_old_design_is_where_it_is_said_to_be(owner: asyncpg.Connection, old: str) -> None:
    assert [place for place in OLD[old].places if not await is_there(owner, place)] == []


def test_fourteen_tables_are_told_of() -> None:
    assert len(OLD) + len(WAITING_TABLES) == 15  # the fourteen, and the one that the old design forgot


async def is_there(connection: asyncpg.Connection, place: str) -> bool:
    return bool(
        await connection.fetchval(
            """
            SELECT true FROM information_schema.columns
            WHERE (table_schema, table_name, column_name) = ($1, $2, $3)
            """,
            *place.split("."),
        )
    )
