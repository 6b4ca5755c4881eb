"""Wraps all data keys again with the ring's current key. After an interruption it skips what is done."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.trading.custody import queries
from services.trading.custody.envelope import SecretRow, wrap_again
from services.trading.custody.key_ring import KeyRing, WrappedKey
from services.trading.custody.queries import FIRST_KEY, AccountKey
from services.trading.errors import SecretUnreadable
from shared.chassis.postgres import Database

BATCH = 200


@dataclass(frozen=True)
class Part:
    """`unreadable`: rows that could not be decrypted, which stay as they are."""

    accounts: int
    rewrapped: int
    unreadable: tuple[SecretRow, ...]


async def count_accounts(database: Database) -> int:
    async with database.queue() as connection:
        return await queries.count_keys(connection)


async def count_by_key(database: Database) -> dict[str, int]:
    """Count the secrets by the id of the key that wraps them."""
    counts: dict[str, int] = {}
    async for accounts in _batches(database):
        for _, wrapped in await _read(database, accounts):
            counts[wrapped.key_id] = counts.get(wrapped.key_id, 0) + 1
    return counts


async def rewrap(database: Database, ring: KeyRing) -> AsyncIterator[Part]:
    """Yield a part for each batch of accounts, after its commit. Raises KeyUnavailable."""
    async for accounts in _batches(database):
        current = await ring.current_key_id()
        changes: list[tuple[SecretRow, WrappedKey, WrappedKey]] = []
        unreadable: list[SecretRow] = []
        for row, wrapped in await _read(database, accounts):
            if wrapped.key_id == current:
                continue
            try:
                changes.append((row, wrapped, await wrap_again(ring, row, wrapped)))
            except SecretUnreadable:
                unreadable.append(row)
        done = 0
        if changes:
            async with database.tenants({row.user_id for row, _, _ in changes}) as connection:
                done = await queries.update_data_keys(connection, changes)
        yield Part(len(accounts), done, tuple(unreadable))


async def _batches(database: Database) -> AsyncIterator[list[AccountKey]]:
    after = FIRST_KEY
    while True:
        async with database.queue() as connection:
            accounts = await queries.list_keys(connection, after, BATCH)
        if not accounts:
            return
        after = accounts[-1]
        yield accounts


async def _read(database: Database, accounts: list[AccountKey]) -> list[tuple[SecretRow, WrappedKey]]:
    async with database.tenants({account.user_id for account in accounts}) as connection:
        return await queries.list_data_keys(connection, accounts)
