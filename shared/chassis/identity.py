"""Maps the public id of a user to the internal one."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from shared.chassis.errors import AccountNotReady, ForgedError
from shared.chassis.postgres import Connection, Database

NEW_USER_WAIT_S = 5.0
CACHE_LIMIT = 100_000
CONTRADICTION = "public_id: it belongs to another user, or the user has another one"


class OfUser(Protocol):
    @property
    def user_id(self) -> int: ...
    @property
    def public_id(self) -> UUID: ...


async def claim_users(connection: Connection, users: Iterable[OfUser]) -> None:
    """Register the public ids of these users; the connection must have the tenants set. Raises ForgedError.

    The first registered pair of user id and public id is final for both.
    """
    pairs = {(user.public_id, user.user_id) for user in users}
    taken = await connection.fetch(
        "SELECT u FROM unnest($1::uuid[], $2::bigint[]) AS t(p, u) WHERE locate_user(p, u) IS DISTINCT FROM u",
        [public_id for public_id, _ in pairs],
        [user_id for _, user_id in pairs],
    )
    if taken:
        raise ForgedError(CONTRADICTION)


class KnownUsers:
    """Caches the registered pairs of user id and public id, which never change."""

    def __init__(self) -> None:
        self._checked: set[tuple[int, UUID]] = set()

    async def check(self, connection: Connection, users: Sequence[OfUser]) -> None:
        """Raises ForgedError if a pair contradicts a registered one; an unknown pair passes."""
        pairs = {(user.user_id, user.public_id) for user in users} - self._checked
        if not pairs:
            return
        rows = await connection.fetch(
            """
            SELECT user_id, public_id, vouch_for_user(public_id, user_id) AS is_known
            FROM unnest($1::uuid[], $2::bigint[]) AS claim (public_id, user_id)
            """,
            [public_id for _, public_id in pairs],
            [user_id for user_id, _ in pairs],
        )
        if any(row["is_known"] is False for row in rows):
            raise ForgedError(CONTRADICTION)
        if len(self._checked) >= CACHE_LIMIT:
            self._checked.clear()
        self._checked |= {(row["user_id"], row["public_id"]) for row in rows if row["is_known"]}


class UserDirectory:
    """Looks up users; waits a few seconds for one whose registration event has not arrived yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[UUID, int] = {}

    async def user_id(self, public_id: UUID) -> int:
        """Return the tenant's id. Raises AccountNotReady (503)."""
        if (known := self._known.get(public_id)) is not None:
            return known
        found = await self._wait_for(public_id)
        if len(self._known) >= CACHE_LIMIT:
            self._known.clear()
        self._known[public_id] = found
        return found

    async def _wait_for(self, public_id: UUID) -> int:
        pause_s = 0.02
        waited_s = 0.0
        while True:
            async with self._database.untenanted() as connection:
                found: int | None = await connection.fetchval("SELECT locate_user($1)", public_id)
            if found is not None:
                return found
            if waited_s >= NEW_USER_WAIT_S:
                raise AccountNotReady
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(pause_s * 2, 0.2)
