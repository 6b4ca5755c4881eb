"""Creates the database and its roles, and applies each service's migrations with dbmate."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg
import click

from stack.failure import BadInput, program_failed
from stack.tools import find_tool

ROOT = Path(__file__).parents[1]
SERVICES = ("auth", "billing", "trading", "analytics", "notifications")
ROLES = ("app", "worker", "queue")
OWNER = "tradefleet_owner"
RECOVERY_TIMEOUT_S = 60
LOCK_TIMEOUT_S = 300
LOCK_POLL_INTERVAL_S = 0.2
LOCK_KEY = "tradefleet migrations"
ROLES_SQL = ROOT / "deploy" / "postgres" / "roles.sql"


@dataclass(frozen=True)
class DatabaseAccess:
    """Address of a database and the passwords of its roles."""

    host: str
    port: int
    name: str
    passwords: Mapping[str, str]

    def dsn(self, role: str) -> str:
        return f"postgresql://{role}:{quote(self.passwords[role])}@{self.host}:{self.port}/{self.name}"

    @property
    def owner_dsn(self) -> str:
        return self.dsn(OWNER)


def all_roles() -> list[str]:
    """Return the owner and three login roles per service."""
    return [OWNER, *(f"{service}_{role}" for service in SERVICES for role in ROLES)]


def new_passwords() -> dict[str, str]:
    """Generate one password per role."""
    return {role: secrets.token_urlsafe(24) for role in all_roles()}


async def create_database(superuser_dsn: str, access: DatabaseAccess) -> None:
    """Create the database, its roles and schemas, without tables. Idempotent. Raises BadInput."""
    connection = await _connect(superuser_dsn)
    try:
        async with _migration_lock(connection):  # roles belong to the whole server
            await _create_database(connection, superuser_dsn, access)
    finally:
        await connection.close()


async def _create_database(connection: asyncpg.Connection, superuser_dsn: str, access: DatabaseAccess) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", OWNER):
        # BYPASSRLS: a migration that moves rows must see them; the owner serves no request.
        await connection.execute(f"CREATE ROLE {OWNER} LOGIN NOSUPERUSER BYPASSRLS CREATEDB")
    if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", access.name):
        await connection.execute(f'CREATE DATABASE "{access.name}" OWNER {OWNER}')
    inside = await asyncpg.connect(superuser_dsn, database=access.name)
    try:
        await inside.execute(ROLES_SQL.read_text())
        for role in all_roles():
            quoted = await inside.fetchval("SELECT quote_literal($1::text)", access.passwords[role])
            await inside.execute(f"ALTER ROLE {role} PASSWORD {quoted}")
    finally:
        await inside.close()


@asynccontextmanager
async def _migration_lock(connection: asyncpg.Connection, wait_s: float = LOCK_TIMEOUT_S) -> AsyncIterator[None]:
    """Allow one run at a time on this database; released if the process dies. Raises BadInput after `wait_s`."""
    try_lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
    if not await connection.fetchval(try_lock, LOCK_KEY):
        click.echo(f"another migration is running: waiting up to {wait_s:g} s", err=True)
        try:
            async with asyncio.timeout(wait_s):
                while not await connection.fetchval(try_lock, LOCK_KEY):
                    await asyncio.sleep(LOCK_POLL_INTERVAL_S)
        except TimeoutError:
            raise BadInput(f"another migration is still running after {wait_s:g} s: try again later") from None
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", LOCK_KEY)


async def _connect(superuser_dsn: str) -> asyncpg.Connection:
    """Connect, waiting while a killed server recovers. Raises BadInput after RECOVERY_TIMEOUT_S."""
    try:
        async with asyncio.timeout(RECOVERY_TIMEOUT_S):
            while True:
                try:
                    return await asyncpg.connect(superuser_dsn)
                except asyncpg.CannotConnectNowError:
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise BadInput("Postgres has not finished its recovery; see its log") from None


def folders_of(service: str, root: Path = ROOT) -> list[Path]:
    """Return the folders of a service's migrations: the shared ones and its own."""
    return [root / "shared" / "chassis" / "migrations", root / "services" / service / "migrations"]


async def migrate(
    access: DatabaseAccess,
    services: Sequence[str] = SERVICES,
    root: Path = ROOT,
    wait_s: float = LOCK_TIMEOUT_S,
) -> None:
    """Apply missing migrations as the owner, one run at a time. Raises BadInput with dbmate's last line."""
    connection = await _connect(access.owner_dsn)
    try:
        await _check_owner_bypasses_rls(connection)
        async with _migration_lock(connection, wait_s):
            # Each migrates its own schema. All are waited for, so that none runs on after the lock is released.
            runs = (_migrate_service(access, service, root) for service in services)
            done = await asyncio.gather(*runs, return_exceptions=True)
            if failed := [outcome for outcome in done if outcome is not None]:
                raise failed[0]
    finally:
        await connection.close()


async def _migrate_service(access: DatabaseAccess, service: str, root: Path) -> None:
    url = access.owner_dsn.replace("postgresql://", "postgres://") + f"?sslmode=disable&search_path={service}"
    process = await asyncio.create_subprocess_exec(
        str(find_tool("dbmate")),
        *(part for folder in folders_of(service, root) for part in ("--migrations-dir", str(folder))),
        "--no-dump-schema",
        "--wait",
        "up",
        env={"DATABASE_URL": url, "PATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise program_failed(f"migrations of {service} failed", process.returncode, output.decode())


async def _check_owner_bypasses_rls(connection: asyncpg.Connection) -> None:
    """Raises BadInput without BYPASSRLS: a migration that moves rows would see none and report success."""
    if not await connection.fetchval("SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user"):
        raise BadInput(f"{OWNER} needs BYPASSRLS: without it migrations would silently change no rows")
