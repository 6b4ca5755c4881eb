"""The small world, in a database of its own for each test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from faults.checker import Violation, check
from stack.migrate import DatabaseAccess
from tests.integration.faults_checker.world import World, build

Judge = Callable[[], Awaitable[list[Violation]]]


@pytest.fixture
def superuser_dsn(postgres: str, database_access: DatabaseAccess) -> str:
    return urlsplit(postgres)._replace(path=f"/{database_access.name}").geturl()


@pytest.fixture
async def world(superuser_dsn: str, any_source: None) -> AsyncIterator[World]:
    """Build the world as a superuser: tests plant states that the database refuses, because the checker must not
    rely on its constraints."""
    connection = await asyncpg.connect(superuser_dsn)
    try:
        yield await build(connection)
    finally:
        await connection.close()


@pytest.fixture
def judge(world: World, superuser_dsn: str, tmp_path: Path) -> Judge:
    """Return a function that gives the checker's violations for the world in its current state."""
    return lambda: asyncio.to_thread(check, world.write(tmp_path), superuser_dsn)
