"""A tenant's notification preferences."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.notifications.domain.kinds import Kind, Preference, read_preferences
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class Preferences:
    """`kinds` has the kinds the tenant has set; version 0 means that none was ever set."""

    version: int
    kinds: Mapping[Kind, Preference]


async def get_preferences(connection: Connection, user_id: int) -> Preferences:
    row = await connection.fetchrow("SELECT version, kinds FROM inbox_preferences WHERE user_id = $1", user_id)
    return Preferences(row["version"], read_preferences(row["kinds"])) if row else Preferences(0, {})


async def lock_preferences(connection: Connection, user_id: int) -> Preferences:
    """Lock the tenant's preferences until the transaction ends, creating the row if it is missing."""
    await connection.execute("INSERT INTO inbox_preferences (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
    row = await connection.fetchrow(
        "SELECT version, kinds FROM inbox_preferences WHERE user_id = $1 FOR UPDATE", user_id
    )
    return Preferences(row["version"], read_preferences(row["kinds"]))


async def update_preferences(connection: Connection, user_id: int, kinds: Mapping[Kind, Preference]) -> Preferences:
    version: int = await connection.fetchval(
        "UPDATE inbox_preferences SET kinds = $2, version = version + 1 WHERE user_id = $1 RETURNING version",
        user_id,
        {kind: preference.model_dump(mode="json") for kind, preference in kinds.items()},
    )
    return Preferences(version, kinds)
