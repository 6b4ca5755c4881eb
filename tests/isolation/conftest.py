"""Databases for the tests of isolation."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import pytest

from stack.migrate import DatabaseAccess
from tests.backend import admin_execute
from tests.conftest import copy_template, database_of
from tests.isolation.filled import LOGINS, Table, fill


@dataclass(frozen=True)
class Filled:
    """A filled database: its access and its tables."""

    access: DatabaseAccess
    superuser_dsn: str
    tables: list[Table]

    @property
    def tenants(self) -> list[Table]:
        return [table for table in self.tables if table.is_tenants]


@pytest.fixture(scope="session")
def filled(postgres: str, template: DatabaseAccess) -> Iterator[Filled]:
    """A database where two tenants have a row in every table. The tests that attack it leave it unchanged."""
    access = database_of(postgres, f"test_{uuid4().hex[:12]}")
    asyncio.run(copy_template(postgres, template.name, access.name))
    try:
        yield asyncio.run(_fill(postgres, access))
    finally:
        asyncio.run(admin_execute(postgres, f"DROP DATABASE {access.name} WITH (FORCE)"))


async def _fill(postgres: str, access: DatabaseAccess) -> Filled:
    connection = await asyncpg.connect(postgres, database=access.name)
    try:
        return Filled(access, postgres, await fill(connection))
    finally:
        await connection.close()


@dataclass(frozen=True)
class Intruder:
    """A connection as one of a service's roles."""

    service: str
    role: str
    connection: asyncpg.Connection

    @property
    def login(self) -> str:
        return f"{self.service}_{self.role}"


@pytest.fixture(params=LOGINS, ids=lambda login: "_".join(login))
async def intruder(filled: Filled, request: pytest.FixtureRequest) -> AsyncIterator[Intruder]:
    service, role = request.param
    connection = await asyncpg.connect(filled.access.dsn(f"{service}_{role}"))
    try:
        yield Intruder(service, role, connection)
    finally:
        await connection.close()


@pytest.fixture
async def superuser(filled: Filled) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(filled.superuser_dsn, database=filled.access.name)
    try:
        yield connection
    finally:
        await connection.close()
