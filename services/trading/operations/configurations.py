"""Make, change and remove bot configurations; at most one is the default."""

from collections.abc import Mapping
from uuid import UUID

import asyncpg

from services.trading.domain import MOST_CONFIGURATIONS
from services.trading.errors import ConfigurationsFull
from services.trading.queries import configurations, entitlements
from services.trading.queries.configurations import ConfigurationRow
from shared.chassis.errors import NameTaken, NotFound
from shared.chassis.http.etags import ANY_STATE, IfMatch
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id

Values = Mapping[str, object]


async def create_configuration(database: Database, user_id: int, values: Values) -> ConfigurationRow:
    configuration_id = new_id()
    try:
        async with database.tenant(user_id) as connection:
            if await configurations.count_configurations(connection, user_id) >= MOST_CONFIGURATIONS:
                raise ConfigurationsFull(
                    f"there can be {MOST_CONFIGURATIONS} configurations", limit=MOST_CONFIGURATIONS
                )
            await _make_room(connection, user_id, configuration_id, values)
            return await configurations.insert_configuration(connection, user_id, configuration_id, values)
    except asyncpg.UniqueViolationError as error:
        raise _taken(values) from error


async def change_configuration(
    database: Database, user_id: int, configuration_id: UUID, values: Values, if_match: IfMatch = ANY_STATE
) -> ConfigurationRow:
    """Sessions started from now on are held to it; running ones keep the limits they loaded."""
    try:
        async with database.tenant(user_id) as connection:
            await _make_room(connection, user_id, configuration_id, values)
            await _check(connection, user_id, configuration_id, if_match)
            changed = await configurations.update_configuration(connection, user_id, configuration_id, values)
    except asyncpg.UniqueViolationError as error:
        raise _taken(values) from error
    assert changed is not None, "locked above"
    return changed


async def delete_configuration(
    database: Database, user_id: int, configuration_id: UUID, if_match: IfMatch = ANY_STATE
) -> None:
    async with database.tenant(user_id) as connection:
        await _check(connection, user_id, configuration_id, if_match)
        await configurations.delete_configuration(connection, user_id, configuration_id)


async def _make_room(connection: Connection, user_id: int, configuration_id: UUID, values: Values) -> None:
    """One default at a time: whoever makes one waits for the others who do, as starts of sessions do."""
    if values["is_default"]:
        await entitlements.get_plan_limits(connection, user_id, lock=True)
        await configurations.clear_default(connection, user_id, configuration_id)


async def _check(connection: Connection, user_id: int, configuration_id: UUID, if_match: IfMatch) -> None:
    """Raises NotFound, PreconditionFailed."""
    found = await configurations.get_configuration(connection, user_id, configuration_id, lock=True)
    if found is None:
        raise NotFound
    if_match.check(found.revision)


def _taken(values: Values) -> NameTaken:
    return NameTaken(f"a configuration is named {values['config_name']!r} already")
