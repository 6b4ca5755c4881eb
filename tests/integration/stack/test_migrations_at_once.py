"""Concurrent migrations take turns; within one, the services migrate side by side."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from stack.failure import BadInput
from stack.migrate import LOCK_KEY, ROOT, SERVICES, DatabaseAccess, create_database, folders_of, migrate
from tests.backend import admin_execute
from tests.conftest import database_of


@pytest.fixture
async def access(postgres: str) -> AsyncIterator[DatabaseAccess]:
    """Access to a database that does not exist yet."""
    access = database_of(postgres, f"test_{uuid4().hex[:12]}")
    yield access
    await admin_execute(postgres, f"DROP DATABASE IF EXISTS {access.name} WITH (FORCE)")


async def test_three_concurrent_migrations_of_an_empty_database_all_succeed(
    postgres: str, access: DatabaseAccess, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        await create_database(postgres, access)
        await migrate(access)

    await asyncio.gather(run(), run(), run())
    connection = await asyncpg.connect(access.owner_dsn)
    try:
        for service in SERVICES:
            assert await connection.fetchval(f"SELECT count(*) FROM {service}.schema_migrations") > 0
    finally:
        await connection.close()
    assert "another migration is running: waiting up to 300 s" in capsys.readouterr().err


async def test_a_migration_that_waits_too_long_is_refused_in_one_line(
    postgres: str, access: DatabaseAccess
) -> None:
    await create_database(postgres, access)
    other = await asyncpg.connect(access.owner_dsn)
    try:
        await other.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", LOCK_KEY)
        with pytest.raises(BadInput, match="another migration is still running"):
            await migrate(access, wait_s=0.5)
    finally:
        await other.close()
    await migrate(access, ["billing"])


async def test_a_failing_migration_is_reported_after_the_other_services_have_migrated(
    postgres: str, access: DatabaseAccess, tmp_path: Path
) -> None:
    for folder in {*folders_of("billing"), *folders_of("auth")}:
        shutil.copytree(folder, tmp_path / folder.relative_to(ROOT))
    broken = tmp_path / "services" / "billing" / "migrations" / "9999_broken.sql"
    broken.write_text("-- migrate:up\nSELECT nothing;\n-- migrate:down\n")
    await create_database(postgres, access)
    with pytest.raises(BadInput, match=r"migrations of billing failed: .*nothing"):
        await migrate(access, ["billing", "auth"], root=tmp_path)
    connection = await asyncpg.connect(access.owner_dsn)
    try:
        applied = await connection.fetchval("SELECT count(*) FROM auth.schema_migrations")
    finally:
        await connection.close()
    assert applied == sum(len(list(folder.glob("*.sql"))) for folder in folders_of("auth", tmp_path))
