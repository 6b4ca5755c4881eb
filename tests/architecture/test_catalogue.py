"""Tenant isolation of the migrated database, read from its catalogue."""

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


async def test_the_rules_cover_every_service(owner: asyncpg.Connection) -> None:
    relations = await owner.fetch(RELATIONS)
    tables = {row["name"] for row in relations if row["kind"] in "rp"}
    tenants = {row["name"] for row in relations if row["of_tenant"] and row["kind"] in "rp"}
    assert len(tenants) > 30
    assert {name.partition(".")[0] for name in tenants} == set(SERVICES)
    assert tables >= SHARED_TABLES, "listed shared tables that do not exist"
    functions = await owner.fetch("SELECT pronamespace::regnamespace::text FROM pg_proc WHERE prosecdef")
    assert {row[0] for row in functions} >= set(SERVICES)


async def test_no_role_can_create_temporary_tables_in_a_new_database(
    owner: asyncpg.Connection, template: DatabaseAccess
) -> None:
    """Checked on the template, because a copy of it does not inherit this privilege."""
    may = (
        "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) AND has_database_privilege(rolname, $2, 'TEMPORARY')"
    )
    assert await owner.fetch(may, sorted(LOGINS), template.name) == []
