"""Mark notifications as read, change preferences, and poll the positions of inboxes that clients stream."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from services.notifications.domain.kinds import Kind, Preference
from services.notifications.queries import inbox, preferences
from services.notifications.queries.inbox import InboxRow
from services.notifications.queries.preferences import Preferences
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection, Database

MAX_AGE_S = 0.4
UNFOLLOW_AFTER_S = 10.0


async def mark_read(connection: Connection, user_id: int, event_id: UUID) -> InboxRow:
    """Mark one notification as read. Raises NotFound."""
    await inbox.lock_inbox(connection, user_id)
    row, was_unread = await inbox.mark_read(connection, user_id, event_id)
    if was_unread:
        await inbox.advance_position(connection, user_id)
    return row


async def mark_all_read(connection: Connection, user_id: int, position: int | None, until: datetime | None) -> int:
    """Return how many were marked. Those after the position, or created at or after `until`, stay unread."""
    await inbox.lock_inbox(connection, user_id)
    marked = await inbox.mark_all_read(connection, user_id, position, until)
    if marked:
        await inbox.advance_position(connection, user_id)
    return marked


async def change_preferences(
    connection: Connection, user_id: int, kinds: Mapping[Kind, Preference], if_match: IfMatch
) -> Preferences:
    """Raises PreconditionFailed."""
    if_match.check((await preferences.lock_preferences(connection, user_id)).version)
    return await preferences.update_preferences(connection, user_id, kinds)


class LastPositions:
    """The last positions of inboxes that clients stream, polled for all of them with one query.

    A position is at most `MAX_AGE_S` old; an inbox not asked for within `UNFOLLOW_AFTER_S` is no longer polled.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._positions: dict[int, int] = {}
        self._followed: dict[int, float] = {}  # user → when their position was last asked for
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def get(self, user_id: int) -> int:
        self._followed[user_id] = time.monotonic()
        if not self._is_fresh(user_id):
            async with self._reading:
                if not self._is_fresh(user_id):  # the previous holder of the lock may have read it already
                    await self._read()
        return self._positions.get(user_id, 0)

    def _is_fresh(self, user_id: int) -> bool:
        return user_id in self._positions and time.monotonic() - self._read_at < MAX_AGE_S

    async def _read(self) -> None:
        started = time.monotonic()
        self._followed = {user: at for user, at in self._followed.items() if started - at < UNFOLLOW_AFTER_S}
        users = list(self._followed)
        async with self._database.tenants(users) as connection:
            found = await inbox.find_last_positions(connection, users)
        self._positions = {user: found.get(user, 0) for user in users}
        self._read_at = started
