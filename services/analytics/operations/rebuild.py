"""All days of a user cut again from the facts, in one transaction: who reads meanwhile sees no half of it."""

import hashlib
from collections.abc import AsyncIterator, Sequence

from services.analytics.operations.facts import Rebuilt, rebuild_days
from services.analytics.queries import people
from shared.chassis.postgres import Connection, Database
from shared.contracts.auth import UserRegistered

USERS_AT_ONCE = 1_000


def email_sha256(email: str) -> bytes:
    """What an address is found by: upper and lower case are the same person."""
    return hashlib.sha256(email.strip().lower().encode()).digest()


async def note_emails(connection: Connection, events: Sequence[UserRegistered]) -> None:
    """So that an operator finds people; nothing is kept that an address could be read from."""
    await people.claim_emails(connection, {email_sha256(event.email): event.user_id for event in events})


async def find_user(database: Database, email: str) -> int | None:
    async with database.tenants(()) as connection:
        return await people.locate_email(connection, email_sha256(email))


async def count_users(database: Database) -> int:
    async with database.queue() as connection:
        return await people.count_users(connection)


async def every_user(database: Database) -> AsyncIterator[int]:
    """Of whom there are facts, ascending; a block at a time."""
    after: int | None = None
    while True:
        async with database.queue() as connection:
            users = await people.list_users(connection, after, USERS_AT_ONCE)
        for user_id in users:
            yield user_id
        if len(users) < USERS_AT_ONCE:
            return
        after = users[-1]


async def rebuild_user(database: Database, user_id: int) -> Rebuilt:
    async with database.tenants([user_id]) as connection:
        return await rebuild_days(connection, [user_id])
