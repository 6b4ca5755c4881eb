"""Create, change and delete bot configurations; at most one is the default."""

from uuid import UUID

import asyncpg

from services.trading.domain import MAX_CONFIGURATIONS
from services.trading.errors import ConfigurationsFull
from services.trading.queries import configurations, entitlements
from services.trading.queries.configurations import ConfigurationRow, ConfigurationValues
from shared.chassis.errors import NameTaken
from shared.chassis.http.etags import ANY_STATE, IfMatch
from shared.chassis.postgres import Connection
from shared.contracts.types import new_id


async def create_configuration(
    connection: Connection, user_id: int, values: ConfigurationValues
) -> ConfigurationRow:
    """Raises ConfigurationsFull, NameTaken."""
    configuration_id = new_id()
    try:
        if await configurations.count_configurations(connection, user_id) >= MAX_CONFIGURATIONS:
            raise ConfigurationsFull(
                f"you can have at most {MAX_CONFIGURATIONS} configurations", limit=MAX_CONFIGURATIONS
            )
        await _clear_other_default(connection, user_id, configuration_id, values)
        return await configurations.insert_configuration(connection, user_id, configuration_id, values)
    except asyncpg.UniqueViolationError as error:
        raise _name_taken(values) from error


async def change_configuration(
    connection: Connection,
    user_id: int,
    configuration_id: UUID,
    values: ConfigurationValues,
    if_match: IfMatch = ANY_STATE,
) -> ConfigurationRow:
    """Change a configuration for sessions started from now on; running ones keep the limits recorded with them.

    Raises NotFound, PreconditionFailed, NameTaken.
    """
    try:
        await _clear_other_default(connection, user_id, configuration_id, values)
        await _lock(connection, user_id, configuration_id, if_match)
        changed = await configurations.update_configuration(connection, user_id, configuration_id, values)
    except asyncpg.UniqueViolationError as error:
        raise _name_taken(values) from error
    return changed


async def delete_configuration(
    connection: Connection, user_id: int, configuration_id: UUID, if_match: IfMatch = ANY_STATE
) -> None:
    await _lock(connection, user_id, configuration_id, if_match)
    await configurations.delete_configuration(connection, user_id, configuration_id)


async def _clear_other_default(
    connection: Connection, user_id: int, configuration_id: UUID, values: ConfigurationValues
) -> None:
    """Unset the other default, if this one is the default.

    Locks the entitlements row, so that changes of the default and starts of sessions run one at a time.
    """
    if values.is_default:
        await entitlements.find_plan_limits(connection, user_id, lock=True)
        await configurations.clear_default(connection, user_id, configuration_id)


async def _lock(connection: Connection, user_id: int, configuration_id: UUID, if_match: IfMatch) -> None:
    """Lock the configuration and check its revision. Raises NotFound, PreconditionFailed."""
    found = await configurations.get_configuration(connection, user_id, configuration_id, lock=True)
    if_match.check(found.revision)


def _name_taken(values: ConfigurationValues) -> NameTaken:
    return NameTaken(f"a configuration named {values.config_name!r} already exists")
