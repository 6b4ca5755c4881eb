"""Databases in the state before a migration, to insert rows and check them after it."""

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import asyncpg

from stack.migrate import ROOT, SERVICES, DatabaseAccess, create_database, folders_of, migrate
from tests.backend import admin_execute
from tests.conftest import database_of

# Matches a statement that changes existing rows, outside the body of a function.
ON_ROWS = re.compile(
    r"^\s*(UPDATE\s+\w+(\s+AS\s+\w+)?\s+SET|DELETE\s+FROM|INSERT\s+INTO\s+[^;]*?\bSELECT\b)", re.I | re.M
)
FUNCTION = re.compile(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE).*?\$\$.*?\$\$", re.I | re.S)
COMMENT = re.compile(r"--[^\n]*")


@asynccontextmanager
async def before_migration(postgres: str, name: str) -> AsyncIterator[tuple[DatabaseAccess, asyncpg.Connection]]:
    """Create a database with all migrations but this one and the later ones of its folder, and yield a superuser's
    connection.

    `await migrate(access)` then applies the rest, as in production.
    """
    access = database_of(postgres, f"test_{uuid4().hex[:12]}")
    await _create(postgres, access)
    try:
        with TemporaryDirectory() as folder:
            _copy_without(Path(folder), name)
            await migrate(access, root=Path(folder))
        connection = await asyncpg.connect(postgres, database=access.name)
        try:
            yield access, connection
        finally:
            await connection.close()
    finally:
        await admin_execute(postgres, f"DROP DATABASE {access.name} WITH (FORCE)")


async def _create(postgres: str, access: DatabaseAccess) -> None:
    """Create databases one at a time: the roles that this alters belong to the whole server."""
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute("SELECT pg_advisory_lock(4711)")
        await create_database(postgres, access)
    finally:
        await connection.close()


def _copy_without(root: Path, name: str) -> None:
    left_out = next(file for file in migrations() if file.name == name)
    for file in migrations():
        copy = root / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.parent != left_out.parent or file.name < name:
            shutil.copy(file, copy)


def migrations() -> Iterator[Path]:
    for folder in sorted({folder for service in SERVICES for folder in folders_of(service)}):
        yield from sorted(folder.glob("*.sql"))


def works_on_rows(sql: str) -> bool:
    """Return whether a migration changes existing rows, and not only tables."""
    return ON_ROWS.search(FUNCTION.sub("", COMMENT.sub("", sql))) is not None
