"""Rebuilds a user's days from the facts, in one transaction so that readers never see a partial rebuild."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from services.analytics.operations.days import Computed, rebuild_days
from services.analytics.queries import people
from shared.chassis.postgres import Connection, Database
from shared.contracts.auth import UserRegistered
from shared.contracts.emails import email_sha256

USERS_AT_ONCE = 1_000
TRANSACTIONS_AT_ONCE = 3  # the connections of the worker role


async def record_emails(connection: Connection, events: Sequence[UserRegistered]) -> None:
    """Store hashes of e-mail addresses, by which operators find users. The addresses themselves are not stored."""
    await people.claim_emails(connection, {email_sha256(event.email): event.user_id for event in events})


async def find_user(database: Database, email: str) -> int | None:
    async with database.tenants(()) as connection:
        return await people.locate_email(connection, email_sha256(email))


async def count_users(database: Database) -> int:
    async with database.queue() as connection:
        return await people.count_users(connection)


async def iterate_users(database: Database) -> AsyncIterator[int]:
    """Yield the ids of all users known to analytics, ascending. Reads them in blocks of `USERS_AT_ONCE`."""
    async for users in _blocks_of_users(database, USERS_AT_ONCE):
        for user_id in users:
            yield user_id


async def rebuild_all(database: Database) -> AsyncIterator[Computed]:
    """Rebuild the days of all users, each in its own transaction, a few at once: one computes, others read."""
    async for users in _blocks_of_users(database, USERS_AT_ONCE):
        for first in range(0, len(users), TRANSACTIONS_AT_ONCE):
            some = users[first : first + TRANSACTIONS_AT_ONCE]
            for computed in await asyncio.gather(*(rebuild_user(database, user_id) for user_id in some)):
                yield computed


async def rebuild_user(database: Database, user_id: int) -> Computed:
    async with database.tenants([user_id]) as connection:
        return await rebuild_days(connection, [user_id])


async def _blocks_of_users(database: Database, limit: int) -> AsyncIterator[Sequence[int]]:
    after: int | None = None
    while True:
        async with database.queue() as connection:
            users = await people.list_users(connection, after, limit)
        yield users
        if len(users) < limit:
            return
        after = users[-1]
