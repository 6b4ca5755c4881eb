"""Exchange accounts, their secrets, and when they are checked."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import asyncpg

from services.trading.custody.account_reader import Product, Region, Site
from services.trading.custody.envelope import SealedSecret, SecretRow
from services.trading.custody.judgement import Finding
from services.trading.custody.key_ring import WrappedKey
from services.trading.exchange.account_facts import Environment
from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection, insert_of
from shared.chassis.row_arrays import arrays_of

AccountStatus = Literal["READY", "REFUSED", "KEY_REJECTED"]
CLAIMED_FOR = timedelta(minutes=2)  # then a check whose process died is repeated


@dataclass(frozen=True)
class CheckedFacts:
    """The result of a check: the columns that each check writes."""

    status: AccountStatus
    refusals: list[dict[str, str]]
    alarmed: list[str]
    permissions: list[str]
    addresses: list[str]
    is_third_party: bool
    key_expires_at: datetime | None
    margin_mode: str
    kyc_region: str
    checked_at: datetime


@dataclass(frozen=True)
class NewKey:
    """The columns that a new key writes."""

    key_hash: bytes
    masked_api_key: str


@dataclass(frozen=True)
class NewAccount:
    """An account as it is added."""

    user_id: int
    exchange_account_id: UUID
    public_id: UUID
    account_name: str
    environment: Environment
    region: Region
    product: Product
    exchange_uid: str
    parent_uid: str | None


@dataclass(frozen=True)
class AccountRow(NewAccount, CheckedFacts):
    masked_api_key: str
    key_version: int
    revision: int
    event_seq: int
    created_at: datetime
    updated_at: datetime

    @property
    def site(self) -> Site:
        return Site(self.environment, self.region)

    @property
    def findings(self) -> list[Finding]:
        return [Finding(**refusal) for refusal in self.refusals]


ORDERS = {"created_at": Order(created_at=datetime, exchange_account_id=UUID)}
COLUMNS = ", ".join(field.name for field in fields(AccountRow))
_CHECKED = [field.name for field in fields(CheckedFacts)]


async def insert_account(
    connection: Connection, account: NewAccount, key: NewKey, facts: CheckedFacts
) -> AccountRow:
    """Raises UniqueViolationError: the name, the key, or the account is there already."""
    values = {**vars(account), **vars(key), **vars(facts)}
    row = await connection.fetchrow(
        f"{insert_of('exchange_accounts', values)} RETURNING {COLUMNS}", *values.values()
    )
    return AccountRow(**row)


async def find_account(
    connection: Connection, user_id: int, account_id: UUID, *, lock: bool = False
) -> AccountRow | None:
    row = await connection.fetchrow(
        f"""
        SELECT {COLUMNS} FROM exchange_accounts WHERE user_id = $1 AND exchange_account_id = $2
        {"FOR UPDATE" if lock else ""}
        """,
        user_id,
        account_id,
    )
    return AccountRow(**row) if row else None


async def get_account(connection: Connection, user_id: int, account_id: UUID, *, lock: bool = False) -> AccountRow:
    """Raises NotFound."""
    return require_found(await find_account(connection, user_id, account_id, lock=lock))


async def find_account_of_uid(
    connection: Connection, user_id: int, environment: Environment, uid: str
) -> UUID | None:
    account_id: UUID | None = await connection.fetchval(
        """
        SELECT exchange_account_id FROM exchange_accounts
        WHERE user_id = $1 AND environment = $2 AND exchange_uid = $3
        """,
        user_id,
        environment,
        uid,
    )
    return account_id


async def list_accounts(
    connection: Connection,
    user_id: int,
    *,
    environment: Environment | None,
    status: AccountStatus | None,
    wanted: Slice,
) -> list[AccountRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM exchange_accounts
        WHERE user_id = $1 AND ($2::text IS NULL OR environment = $2) AND ($3::text IS NULL OR status = $3)
              {wanted.sql(4)}
        """,
        user_id,
        environment,
        status,
        *wanted.arguments,
    )
    return [AccountRow(**row) for row in rows]


async def count_accounts(connection: Connection, user_id: int) -> int:
    """Count accounts; until the transaction ends nobody else can insert one for this tenant."""
    await connection.execute("SELECT lock_for_tenant('exchange_accounts')")
    count: int = await connection.fetchval("SELECT count(*) FROM exchange_accounts WHERE user_id = $1", user_id)
    return count


async def update_name(connection: Connection, user_id: int, account_id: UUID, name: str) -> AccountRow:
    """Raises UniqueViolationError."""
    row = await connection.fetchrow(
        f"""
        UPDATE exchange_accounts SET account_name = $3, revision = revision + 1
        WHERE user_id = $1 AND exchange_account_id = $2 RETURNING {COLUMNS}
        """,
        user_id,
        account_id,
        name,
    )
    return AccountRow(**row)


async def update_facts(
    connection: Connection, user_id: int, account_id: UUID, facts: CheckedFacts, events: int = 0
) -> AccountRow:
    """Store what a check found, and count the events that it emits."""
    row = await connection.fetchrow(
        f"""
        UPDATE exchange_accounts SET
            ({", ".join(_CHECKED)}) = ({", ".join(f"${number}" for number in range(4, 4 + len(_CHECKED)))}),
            event_seq = event_seq + $3
        WHERE user_id = $1 AND exchange_account_id = $2 RETURNING {COLUMNS}
        """,
        user_id,
        account_id,
        events,
        *vars(facts).values(),
    )
    return AccountRow(**row)


async def update_key(connection: Connection, user_id: int, account_id: UUID, key: NewKey) -> None:
    """Count a new version of the key. Raises UniqueViolationError."""
    await connection.execute(
        """
        UPDATE exchange_accounts SET
            key_hash = $3, masked_api_key = $4, key_version = key_version + 1, revision = revision + 1
        WHERE user_id = $1 AND exchange_account_id = $2
        """,
        user_id,
        account_id,
        key.key_hash,
        key.masked_api_key,
    )


async def delete_account(connection: Connection, user_id: int, account_id: UUID) -> None:
    """Delete an account; its secret goes with it."""
    await connection.execute(
        "DELETE FROM exchange_accounts WHERE user_id = $1 AND exchange_account_id = $2", user_id, account_id
    )


async def count_running_sessions(connection: Connection, user_id: int, account_id: UUID) -> int:
    """Count the sessions that trade on the account. The caller has locked it, so that none can start."""
    count: int = await connection.fetchval(
        """
        SELECT count(*) FROM user_trading_sessions
        WHERE user_id = $1 AND exchange_account_id = $2 AND status <> 'STOPPED'
        """,
        user_id,
        account_id,
    )
    return count


async def claim_uid(connection: Connection, user_id: int, environment: Environment, uid: str) -> bool:
    """Claim an exchange account for the tenant; False if another tenant has connected it."""
    owner = await connection.fetchval("SELECT locate_exchange_uid($1, $2, $3)", environment, uid, user_id)
    return bool(owner == user_id)


async def release_uid(connection: Connection, user_id: int, environment: Environment, uid: str) -> None:
    await connection.execute("SELECT locate_exchange_uid($1, $2, $3, true)", environment, uid, user_id)


async def insert_secret(connection: Connection, row: SecretRow, sealed: SealedSecret) -> None:
    """Store a secret, which destroys the earlier ones of the account."""
    await connection.execute(
        """
        INSERT INTO exchange_secrets (user_id, exchange_account_id, version, key_id, wrapped_key, ciphertext)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        row.user_id,
        row.exchange_account_id,
        row.version,
        sealed.data_key.key_id,
        sealed.data_key.wrapped,
        sealed.ciphertext,
    )


async def find_secret(
    connection: Connection, user_id: int, account_id: UUID
) -> tuple[SecretRow, SealedSecret] | None:
    """Return the account's current secret, as trading_worker."""
    row = await connection.fetchrow(
        """
        SELECT s.* FROM exchange_secrets AS s JOIN exchange_accounts AS a USING (user_id, exchange_account_id)
        WHERE s.user_id = $1 AND s.exchange_account_id = $2 AND s.version = a.key_version
        """,
        user_id,
        account_id,
    )
    return None if row is None else (_row_of(row), SealedSecret(_wrapped(row), row["ciphertext"]))


@dataclass(frozen=True)
class AccountKey:
    """An account across tenants, as the queue of checks names it."""

    user_id: int
    exchange_account_id: UUID


FIRST_KEY = AccountKey(-(2**63), UUID(int=0))


async def list_keys(connection: Connection, after: AccountKey, limit: int) -> list[AccountKey]:
    """List accounts of all tenants in the order of their keys, as trading_queue."""
    rows = await connection.fetch(
        """
        SELECT user_id, exchange_account_id FROM exchange_account_checks
        WHERE (user_id, exchange_account_id) > ($1, $2) ORDER BY user_id, exchange_account_id LIMIT $3
        """,
        after.user_id,
        after.exchange_account_id,
        limit,
    )
    return [AccountKey(**row) for row in rows]


async def list_key_versions(
    connection: Connection, accounts: Sequence[tuple[int, UUID]]
) -> dict[tuple[int, UUID], int]:
    """Return the versions by (user, account), as trading_worker."""
    rows = await connection.fetch(
        """
        SELECT a.user_id, a.exchange_account_id, a.key_version FROM exchange_accounts AS a
        JOIN unnest($1::bigint[], $2::uuid[]) AS wanted (user_id, exchange_account_id)
             USING (user_id, exchange_account_id)
        """,
        *arrays_of(accounts),
    )
    return {(row["user_id"], row["exchange_account_id"]): row["key_version"] for row in rows}


async def count_keys(connection: Connection) -> int:
    """As trading_queue."""
    count: int = await connection.fetchval("SELECT count(*) FROM exchange_account_checks")
    return count


async def list_data_keys(
    connection: Connection, accounts: Sequence[AccountKey]
) -> list[tuple[SecretRow, WrappedKey]]:
    """List the wrapped data keys of these accounts, as trading_worker."""
    rows = await connection.fetch(
        """
        SELECT s.* FROM exchange_secrets AS s
        JOIN unnest($1::bigint[], $2::uuid[]) AS wanted (user_id, exchange_account_id)
             USING (user_id, exchange_account_id)
        """,
        [account.user_id for account in accounts],
        [account.exchange_account_id for account in accounts],
    )
    return [(_row_of(row), _wrapped(row)) for row in rows]


async def update_data_keys(
    connection: Connection, changes: Sequence[tuple[SecretRow, WrappedKey, WrappedKey]]
) -> int:
    """Replace each data key's wrapping, unless the secret was replaced meanwhile; returns how many were."""
    status: str = await connection.execute(
        """
        UPDATE exchange_secrets AS s SET key_id = new.key_id, wrapped_key = new.wrapped_key
        FROM unnest($1::bigint[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::bytea[])
             AS new (user_id, exchange_account_id, version, was, key_id, wrapped_key)
        WHERE s.user_id = new.user_id AND s.exchange_account_id = new.exchange_account_id
              AND s.version = new.version AND s.key_id = new.was
        """,
        [row.user_id for row, _, _ in changes],
        [row.exchange_account_id for row, _, _ in changes],
        [row.version for row, _, _ in changes],
        [was.key_id for _, was, _ in changes],
        [new.key_id for _, _, new in changes],
        [new.wrapped for _, _, new in changes],
    )
    return int(status.rpartition(" ")[2])


async def insert_check(
    connection: Connection, user_id: int, account_id: UUID, environment: Environment, every_s: float
) -> None:
    """Let the account be checked from now on, spread over the interval."""
    await connection.execute(
        """
        INSERT INTO exchange_account_checks (user_id, exchange_account_id, environment, due_at)
        VALUES ($1, $2, $3, now() + make_interval(secs => $4 * (0.5 + random() / 2)))
        """,
        user_id,
        account_id,
        environment,
        every_s,
    )


async def claim_checks(connection: Connection, live: bool, limit: int) -> list[AccountKey]:
    """Claim up to `limit` accounts whose check is due, as trading_queue; LIVE ones only if `live`."""
    rows = await connection.fetch(
        """
        UPDATE exchange_account_checks AS c SET due_at = now() + $3
        FROM (
            SELECT user_id, exchange_account_id FROM exchange_account_checks
            WHERE due_at <= now() AND ($1 OR environment <> 'LIVE') ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) AS due
        WHERE c.user_id = due.user_id AND c.exchange_account_id = due.exchange_account_id
        RETURNING c.user_id, c.exchange_account_id
        """,
        live,
        limit,
        CLAIMED_FOR,
    )
    return [AccountKey(**row) for row in rows]


async def schedule_check(connection: Connection, account: AccountKey, every_s: float) -> None:
    """Schedule the next check, a little spread, as trading_worker."""
    await connection.execute(
        """
        UPDATE exchange_account_checks SET due_at = now() + make_interval(secs => $3 * (0.9 + random() / 5))
        WHERE user_id = $1 AND exchange_account_id = $2
        """,
        account.user_id,
        account.exchange_account_id,
        every_s,
    )


async def find_accepted_version(connection: Connection, user_id: int) -> tuple[int, datetime] | None:
    """Return the newest version of the risk notice that the tenant accepted, and when."""
    row = await connection.fetchrow(
        "SELECT version, accepted_at FROM risk_notice_acceptances WHERE user_id = $1 ORDER BY version DESC LIMIT 1",
        user_id,
    )
    return (row["version"], row["accepted_at"]) if row else None


async def insert_acceptance(connection: Connection, user_id: int, version: int, now: datetime) -> None:
    """Record the acceptance; a repeated one changes nothing."""
    await connection.execute(
        "INSERT INTO risk_notice_acceptances VALUES ($1, $2, $3) ON CONFLICT (user_id, version) DO NOTHING",
        user_id,
        version,
        now,
    )


def _row_of(row: asyncpg.Record) -> SecretRow:
    return SecretRow(row["user_id"], row["exchange_account_id"], row["version"])


def _wrapped(row: asyncpg.Record) -> WrappedKey:
    return WrappedKey(row["key_id"], row["wrapped_key"])
