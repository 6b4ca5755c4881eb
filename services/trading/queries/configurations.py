"""Bot configurations: limits that a session's entries may not exceed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class ConfigurationValues:
    """The columns that a client may write, in the order of the statements' parameters."""

    config_name: str
    config_data: Mapping[str, object]
    is_active: bool
    is_default: bool
    strategy_type: str | None
    risk_level: str | None
    max_position_size: Decimal | None
    stop_loss_percentage: Decimal | None
    take_profit_percentage: Decimal | None


@dataclass(frozen=True)
class ConfigurationRow(ConfigurationValues):
    bot_configuration_id: UUID
    times_used: int
    last_used: datetime | None
    revision: int
    created_at: datetime
    updated_at: datetime


ORDERS = {"created_at": Order(created_at=datetime, bot_configuration_id=UUID)}
COLUMNS = ", ".join(field.name for field in fields(ConfigurationRow))
WRITABLE = ", ".join(field.name for field in fields(ConfigurationValues))


async def insert_configuration(
    connection: Connection, user_id: int, configuration_id: UUID, values: ConfigurationValues
) -> ConfigurationRow:
    row = await connection.fetchrow(
        f"""
        INSERT INTO user_bot_configurations (user_id, bot_configuration_id, {WRITABLE})
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING {COLUMNS}
        """,
        user_id,
        configuration_id,
        *vars(values).values(),
    )
    return ConfigurationRow(**row)


async def count_configurations(connection: Connection, user_id: int) -> int:
    """Count configurations; until the transaction ends nobody else can insert one for this tenant."""
    await connection.execute("SELECT lock_for_tenant('configurations')")
    count: int = await connection.fetchval(
        "SELECT count(*) FROM user_bot_configurations WHERE user_id = $1", user_id
    )
    return count


async def update_configuration(
    connection: Connection, user_id: int, configuration_id: UUID, values: ConfigurationValues
) -> ConfigurationRow:
    row = await connection.fetchrow(
        f"""
        UPDATE user_bot_configurations SET
            ({WRITABLE}) = ($3, $4, $5, $6, $7, $8, $9, $10, $11), revision = revision + 1
        WHERE user_id = $1 AND bot_configuration_id = $2 RETURNING {COLUMNS}
        """,
        user_id,
        configuration_id,
        *vars(values).values(),
    )
    return ConfigurationRow(**row)


async def clear_default(connection: Connection, user_id: int, excluding: UUID) -> None:
    await connection.execute(
        """
        UPDATE user_bot_configurations SET is_default = false, revision = revision + 1
        WHERE user_id = $1 AND is_default AND bot_configuration_id <> $2
        """,
        user_id,
        excluding,
    )


async def find_configuration(
    connection: Connection, user_id: int, configuration_id: UUID, *, lock: bool = False
) -> ConfigurationRow | None:
    row = await connection.fetchrow(
        f"""
        SELECT {COLUMNS} FROM user_bot_configurations WHERE user_id = $1 AND bot_configuration_id = $2
        {"FOR UPDATE" if lock else ""}
        """,
        user_id,
        configuration_id,
    )
    return ConfigurationRow(**row) if row else None


async def get_configuration(
    connection: Connection, user_id: int, configuration_id: UUID, *, lock: bool = False
) -> ConfigurationRow:
    """Raises NotFound."""
    return require_found(await find_configuration(connection, user_id, configuration_id, lock=lock))


async def find_default_configuration(connection: Connection, user_id: int) -> ConfigurationRow | None:
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM user_bot_configurations WHERE user_id = $1 AND is_default AND is_active", user_id
    )
    return ConfigurationRow(**row) if row else None


async def list_configurations(
    connection: Connection,
    user_id: int,
    *,
    is_active: bool | None,
    wanted: Slice,
) -> list[ConfigurationRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM user_bot_configurations
        WHERE user_id = $1 AND ($2::boolean IS NULL OR is_active = $2) {wanted.sql(3)}
        """,
        user_id,
        is_active,
        *wanted.arguments,
    )
    return [ConfigurationRow(**row) for row in rows]


async def delete_configuration(connection: Connection, user_id: int, configuration_id: UUID) -> bool:
    """Delete a configuration; returns whether it existed. Sessions that use it keep their recorded limits."""
    deleted = await connection.fetchval(
        """
        DELETE FROM user_bot_configurations WHERE user_id = $1 AND bot_configuration_id = $2 RETURNING true
        """,
        user_id,
        configuration_id,
    )
    return bool(deleted)


async def count_use(connection: Connection, user_id: int, configuration_id: UUID) -> None:
    await connection.execute(
        """
        UPDATE user_bot_configurations SET times_used = times_used + 1, last_used = now()
        WHERE user_id = $1 AND bot_configuration_id = $2
        """,
        user_id,
        configuration_id,
    )
