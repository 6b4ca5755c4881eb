"""Every table and column of the preceding design has a current place, or names the feature that it waits for."""

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
async def test_a_column_of_the_old_design_is_at_its_listed_place(owner: asyncpg.Connection, old: str) -> None:
    assert [place for place in OLD[old].places if not await exists(owner, place)] == []


def test_all_tables_of_the_old_design_are_listed() -> None:
    assert len(OLD) + len(WAITING_TABLES) == 15  # the fourteen, and one that the old design omitted


async def exists(connection: asyncpg.Connection, place: str) -> bool:
    return bool(
        await connection.fetchval(
            """
            SELECT true FROM information_schema.columns
            WHERE (table_schema, table_name, column_name) = ($1, $2, $3)
            """,
            *place.split("."),
        )
    )
