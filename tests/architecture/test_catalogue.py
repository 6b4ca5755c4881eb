"""Isolation as the database has it, read from its catalogue after the migrations."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from stack.migrate import SERVICES, DatabaseAccess
from tests.architecture.catalogue import LOGINS, RELATIONS, RULES, SHARED_TABLES, Rule


@pytest.fixture
async def owner(database_access: DatabaseAccess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_access.owner_dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_the_migrated_database_keeps_the_rule(owner: asyncpg.Connection, rule: Rule) -> None:
    faults = await rule(owner)
    assert not faults, "\n".join(faults)


async def test_the_rules_see_every_service(owner: asyncpg.Connection) -> None:
    relations = await owner.fetch(RELATIONS)
    tables = {row["name"] for row in relations if row["kind"] in "rp"}
    tenants = {row["name"] for row in relations if row["of_tenant"] and row["kind"] in "rp"}
    assert len(tenants) > 30
    assert {name.partition(".")[0] for name in tenants} == set(SERVICES)
    assert tables >= SHARED_TABLES, "nobody's tables that are no more"
    functions = await owner.fetch("SELECT pronamespace::regnamespace::text FROM pg_proc WHERE prosecdef")
    assert {row[0] for row in functions} >= set(SERVICES)


async def test_a_new_database_lets_nobody_make_temporary_tables(
    owner: asyncpg.Connection, template: DatabaseAccess
) -> None:
    """Seen on the template: a copy of it does not take this over by itself."""
    may = (
        "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) AND has_database_privilege(rolname, $2, 'TEMPORARY')"
    )
    assert await owner.fetch(may, sorted(LOGINS), template.name) == []
