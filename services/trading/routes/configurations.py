"""`/v1/bot-configurations`: the limits a session may not exceed, whatever its strategy says."""

import json
from dataclasses import asdict
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field, field_validator

from services.trading.operations.configurations import (
    change_configuration,
    create_configuration,
    delete_configuration,
)
from services.trading.queries import configurations
from services.trading.queries.configurations import ConfigurationRow
from services.trading.routes.fields import Name, Positive
from services.trading.routes.naming import decode_uuid_cursor, named
from shared.chassis.errors import NameTaken, NotFound
from shared.chassis.http import Call, Endpoint, Reply, created
from shared.chassis.json_body import as_stored
from shared.chassis.paging import Page, PageQuery, encode_cursor, page_of
from shared.chassis.postgres import Database
from shared.contracts.types import Amount, BodyModel, Instant, ViewModel

MOST_DATA_BYTES = 20_000


class ConfigurationBody(BodyModel):
    """`config_data` is yours to fill; `min_stop_distance_percentage` in it is a limit too."""

    config_name: Name
    config_data: dict[str, object] = Field(default_factory=dict)
    is_active: bool = True
    is_default: bool = False
    strategy_type: Name | None = None
    risk_level: Literal["LOW", "MEDIUM", "HIGH"] | None = None
    max_position_size: Positive | None = None
    stop_loss_percentage: Positive | None = None
    take_profit_percentage: Positive | None = None

    @field_validator("config_data")
    @classmethod
    def _fits(cls, value: dict[str, object]) -> dict[str, object]:
        """Numbers become decimal strings, so that none is kept as a float."""
        stored = as_stored(value)
        if len(json.dumps(stored).encode()) > MOST_DATA_BYTES:
            raise ValueError(f"must be at most {MOST_DATA_BYTES} bytes")
        least = stored.get("min_stop_distance_percentage")
        if least is not None and not _is_percentage(least):
            raise ValueError("min_stop_distance_percentage must be a decimal above 0")
        return stored


def _is_percentage(value: object) -> bool:
    text = str(value)
    return text.replace(".", "", 1).isdigit() and text.isascii() and len(text) <= 30 and Decimal(text) > 0


class ConfigurationView(ViewModel):
    bot_configuration_id: UUID
    config_name: str
    config_data: dict[str, object]
    is_active: bool
    is_default: bool
    strategy_type: str | None
    risk_level: str | None
    max_position_size: Amount | None
    stop_loss_percentage: Amount | None
    take_profit_percentage: Amount | None
    times_used: int
    last_used: Instant | None
    created_at: Instant
    updated_at: Instant


def configuration_endpoints(database: Database) -> list[Endpoint]:
    async def create(call: Call) -> Reply:
        values = call.body(ConfigurationBody).model_dump()
        row = await create_configuration(database, call.principal.user_id, values)
        return created(_view(row), f"/v1/bot-configurations/{row.bot_configuration_id}")

    async def list_(call: Call) -> Page[ConfigurationView]:
        query = call.query(PageQuery)
        after = decode_uuid_cursor(query.cursor)
        async with database.tenant(call.principal.user_id) as connection:
            rows = await configurations.list_configurations(
                connection, call.principal.user_id, after, query.limit + 1
            )
        return page_of(
            [_view(row) for row in rows],
            query.limit,
            lambda last: encode_cursor(str(last.bot_configuration_id)),
        )

    async def get(call: Call) -> ConfigurationView:
        async with database.tenant(call.principal.user_id) as connection:
            row = await configurations.get_configuration(connection, call.principal.user_id, call.uuid())
        if row is None:
            raise NotFound
        return _view(row)

    async def change(call: Call) -> ConfigurationView:
        values = call.body(ConfigurationBody).model_dump()
        return _view(await change_configuration(database, call.principal.user_id, call.uuid(), values))

    async def delete(call: Call) -> None:
        await delete_configuration(database, call.principal.user_id, call.uuid())

    every, one = "/v1/bot-configurations", "/v1/bot-configurations/{id}"
    view = ConfigurationView
    return [
        Endpoint(
            "POST",
            every,
            named(create, "create_bot_configuration"),
            "Make a configuration",
            response=view,
            status=201,
            body=ConfigurationBody,
            errors=(NameTaken,),
        ),
        Endpoint(
            "GET",
            every,
            named(list_, "list_bot_configurations"),
            "Your configurations",
            response=Page[ConfigurationView],
            query=PageQuery,
        ),
        Endpoint("GET", one, named(get, "get_bot_configuration"), "A configuration", response=view),
        Endpoint(
            "PUT",
            one,
            named(change, "change_bot_configuration"),
            "Change a configuration, for sessions started from now on",
            response=view,
            body=ConfigurationBody,
            errors=(NameTaken,),
        ),
        Endpoint("DELETE", one, named(delete, "delete_bot_configuration"), "Remove a configuration", status=204),
    ]


def _view(row: ConfigurationRow) -> ConfigurationView:
    return ConfigurationView.model_validate(asdict(row))
