"""A database in which two tenants have a row in every table, generated from the catalogue."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from stack.migrate import ROLES, SERVICES

A, B = 70_101, 70_202
MOMENT = datetime(2026, 6, 15, tzinfo=UTC)
LOGINS = tuple((service, role) for service in SERVICES for role in ROLES)

TABLES = """
    SELECT c.oid, n.nspname AS service, c.relname AS name, c.relispartition AS is_partition,
           EXISTS (SELECT FROM pg_attribute x WHERE x.attrelid = c.oid AND x.attname = 'user_id') AS of_tenant
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 2, 3
"""
COLUMNS = """
    SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''
    ORDER BY attnum
"""
REFERENCES = """
    SELECT k.conname AS name, k.confrelid::regclass::text AS target,
           ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid
                 AND a.attnum = ANY (k.conkey)) AS columns
    FROM pg_constraint k WHERE k.conrelid = $1 AND k.contype = 'f'
"""
# Check constraints restrict values, not owners: without them any value of a column's type can be inserted.
CHECKS = """
    SELECT k.conrelid::regclass::text AS table, quote_ident(k.conname) AS name FROM pg_constraint k
    JOIN pg_namespace n ON n.oid = k.connamespace
    WHERE n.nspname = ANY ($1::text[]) AND k.contype = 'c' AND k.coninhcount = 0
"""


@dataclass(frozen=True)
class Reference:
    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """`columns` are the writable ones, with their types."""

    service: str
    name: str
    is_partition: bool
    of_tenant: bool
    columns: Mapping[str, str]
    references: Sequence[Reference]
    allowed: Mapping[str, frozenset[str]]
    updatable: Mapping[str, str]  # for each login with UPDATE, one column: `user_id` if that is updatable

    @property
    def full(self) -> str:
        return f"{self.service}.{self.name}"

    @property
    def is_tenants(self) -> bool:
        """Return whether the table is addressed by its own name and holds rows of tenants."""
        return self.of_tenant and not self.is_partition

    def may(self, login: str, privilege: str) -> bool:
        return privilege in self.allowed[login]

    def row(self, tenant: int, *, new: bool = False, **changes: object) -> dict[str, object]:
        """Return the row of `tenant`; with `new`, a second one that references the same rows."""
        referencing = {column for reference in self.references for column in reference.columns}
        row = {
            column: value_of(column, kind, tenant, again=new and column not in referencing)
            for column, kind in self.columns.items()
        }
        return {**row, **changes}

    def insert(self, row: Mapping[str, object]) -> str:
        places = ", ".join(f"${n}::{self.columns[name]}" for n, name in enumerate(row, 1))
        return f"INSERT INTO {self.full} ({', '.join(row)}) VALUES ({places})"


def value_of(column: str, kind: str, tenant: int, *, again: bool = False) -> object:
    """Return the same value for the same tenant and type in every column, so that every reference finds its row."""
    if column == "user_id":
        return tenant
    number = 2 if again else 1
    match kind:
        case "uuid":
            return UUID(int=tenant * 1000 + number)
        case "text":
            return f"row {number} of {tenant}"
        case "bigint" | "integer" | "smallint" | "xid":
            return number
        case "numeric":
            return Decimal(number)
        case "boolean":
            return not again
        case "timestamp with time zone":
            return MOMENT.replace(day=15 + number)
        case "date":
            return MOMENT.replace(day=15 + number).date()
        case "jsonb":
            return json.dumps({"of": f"row {number} of {tenant}"})
        case "bytea":
            return f"{tenant:>30} {number}".encode()
        case "inet":
            return f"10.0.{tenant % 256}.{number}"
        case "text[]":
            return []
        case "cidr":
            return f"10.0.{tenant % 256}.{number}/32"
    raise AssertionError(f"{column}: no value for the type {kind}; give it one here")


async def read_tables(connection: asyncpg.Connection) -> list[Table]:
    """Return all tables of the services' schemas, with the privileges of each login."""
    tables = []
    privileges = """
        SELECT role, array_agg(p) AS allowed FROM unnest($1::text[]) AS role, unnest($2::text[]) AS p
        WHERE has_table_privilege(role, $3::oid, p) OR has_any_column_privilege(role, $3::oid, p) GROUP BY role
    """
    logins = [f"{service}_{role}" for service, role in LOGINS]
    for row in await connection.fetch(TABLES, SERVICES):
        columns = {column["name"]: column["type"] for column in await connection.fetch(COLUMNS, row["oid"])}
        references = [
            Reference(each["name"], tuple(each["columns"]))
            for each in await connection.fetch(REFERENCES, row["oid"])
        ]
        held = await connection.fetch(privileges, logins, ["SELECT", "INSERT", "UPDATE"], row["oid"])
        more = await connection.fetch(
            "SELECT role FROM unnest($1::text[]) AS role WHERE has_table_privilege(role, $2::oid, 'DELETE')",
            logins,
            row["oid"],
        )
        updatable = await connection.fetch(
            """
            SELECT DISTINCT ON (role) role, attname FROM unnest($1::text[]) AS role, pg_attribute
            WHERE attrelid = $2 AND attnum > 0 AND NOT attisdropped
                  AND has_column_privilege(role, attrelid, attnum, 'UPDATE')
            ORDER BY role, attname <> 'user_id', attnum
            """,
            logins,
            row["oid"],
        )
        allowed = {login: frozenset[str]() for login in logins} | {
            each["role"]: frozenset(each["allowed"]) for each in held
        }
        for each in more:
            allowed[each["role"]] |= {"DELETE"}
        tables.append(
            Table(
                row["service"],
                row["name"],
                row["is_partition"],
                row["of_tenant"],
                columns,
                references,
                allowed,
                {each["role"]: each["attname"] for each in updatable},
            )
        )
    return tables


async def fill(superuser: asyncpg.Connection) -> list[Table]:
    """Write each tenant's row into every table, and return the tables."""
    for check in await superuser.fetch(CHECKS, SERVICES):
        await superuser.execute(f"ALTER TABLE {check['table']} DROP CONSTRAINT {check['name']}")
    for row in await superuser.fetch(
        "SELECT oid::regproc AS name FROM pg_proc WHERE proname ~ '^prepare_.*_month$'"
    ):
        await superuser.execute(f"SELECT {row['name']}('{MOMENT.isoformat()}')")
    tables = await read_tables(superuser)
    await superuser.execute("SET session_replication_role = replica")  # so that any order works
    for table in tables:
        if table.is_tenants:
            for tenant in (A, B):
                row = table.row(tenant)
                await superuser.execute(table.insert(row), *row.values())
    await superuser.execute("SET session_replication_role = origin; ANALYZE")
    return await read_tables(superuser)


async def set_tenant(connection: asyncpg.Connection, role: str, tenant: int | str) -> None:
    """Set the tenant of the transaction, as the chassis does for this role."""
    name = {"app": "app.user_id", "worker": "app.user_ids"}.get(role)
    if name is not None:
        await connection.execute(f"SELECT set_config('{name}', $1, true)", str(tenant))


async def attempt(connection: asyncpg.Connection, statement: str, *values: object) -> asyncpg.PostgresError | str:
    """Execute a statement, roll it back, and return its status or its error."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        status: str = await connection.execute(statement, *values)
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except asyncpg.PostgresError as error:
        return error
    finally:
        with suppress(asyncpg.PostgresError):
            await transaction.rollback()
    return status


def refused(answer: asyncpg.PostgresError | str, *errors: type[asyncpg.PostgresError]) -> bool:
    return isinstance(answer, errors or asyncpg.InsufficientPrivilegeError)
