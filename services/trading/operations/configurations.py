"""Make, change and remove bot configurations; at most one is the default."""

from collections.abc import Mapping
from uuid import UUID

import asyncpg

from services.trading.queries import configurations
from services.trading.queries.configurations import ConfigurationRow
from shared.chassis.errors import Conflict, NameTaken, NotFound
from shared.chassis.postgres import Database
from shared.contracts.types import new_id

Values = Mapping[str, object]


async def create_configuration(database: Database, user_id: int, values: Values) -> ConfigurationRow:
    configuration_id = new_id()
    try:
        async with database.tenant(user_id) as connection:
            if values["is_default"]:
                await configurations.clear_default(connection, user_id, configuration_id)
            return await configurations.insert_configuration(connection, user_id, configuration_id, values)
    except asyncpg.UniqueViolationError as error:
        raise _taken(error, values) from error


async def change_configuration(
    database: Database, user_id: int, configuration_id: UUID, values: Values
) -> ConfigurationRow:
    """Sessions started from now on are held to it; running ones keep the limits they loaded."""
    try:
        async with database.tenant(user_id) as connection:
            if values["is_default"]:
                await configurations.clear_default(connection, user_id, configuration_id)
            changed = await configurations.update_configuration(connection, user_id, configuration_id, values)
    except asyncpg.UniqueViolationError as error:
        raise _taken(error, values) from error
    if changed is None:
        raise NotFound
    return changed


async def delete_configuration(database: Database, user_id: int, configuration_id: UUID) -> None:
    async with database.tenant(user_id) as connection:
        if not await configurations.delete_configuration(connection, user_id, configuration_id):
            raise NotFound


def _taken(error: asyncpg.UniqueViolationError, values: Values) -> Conflict:
    if error.constraint_name == "one_default_configuration":
        return Conflict("another configuration was made the default at the same moment")
    return NameTaken(f"a configuration is named {values['config_name']!r} already")
