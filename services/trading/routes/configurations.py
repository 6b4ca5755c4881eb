"""`/v1/bot-configurations`: limits on a session's entries, applied in addition to its strategy's rules."""

import json
import re
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field, field_validator
from pydantic.config import JsonDict

from services.trading.errors import ConfigurationsFull
from services.trading.operations.configurations import (
    change_configuration,
    create_configuration,
    delete_configuration,
)
from services.trading.queries import configurations
from services.trading.queries.configurations import ConfigurationRow, ConfigurationValues
from shared.chassis.errors import NameTaken
from shared.chassis.http.app import Call, Reply, created, tagged
from shared.chassis.http.json_body import as_stored
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.amounts import Positive, check_positive
from shared.contracts.examples import ASKED, example
from shared.contracts.texts import Name, check_texts_within
from shared.contracts.types import AMOUNT_PATTERN, Amount, BodyModel, Flag, Instant, ViewModel

PATH = "/v1/bot-configurations"
MAX_DATA_BYTES = 20_000


CONFIGURATION: JsonDict = {
    "config_name": "careful",
    "config_data": {"min_stop_distance_percentage": "0.5"},
    "is_default": True,
    "strategy_type": "trend",
    "risk_level": "LOW",
    "max_position_size": "6000",
    "stop_loss_percentage": "3",
    "take_profit_percentage": "10",
}


class ConfigurationBody(BodyModel):
    """`config_data` is free-form, except `min_stop_distance_percentage`, which is a limit too."""

    model_config = example(**CONFIGURATION)

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
        """Convert numbers to decimal strings, so that none is stored as a float."""
        check_texts_within(value)
        stored = as_stored(value)
        if len(json.dumps(stored).encode()) > MAX_DATA_BYTES:
            raise ValueError(f"must be at most {MAX_DATA_BYTES} bytes")
        least = stored.get("min_stop_distance_percentage")
        if least is not None:
            _check_percentage("min_stop_distance_percentage", least)
        return stored

    def values(self) -> ConfigurationValues:
        return ConfigurationValues(**self.model_dump())


def _check_percentage(name: str, value: object) -> None:
    """Raises ValueError."""
    text = str(value)
    if not re.fullmatch(AMOUNT_PATTERN, text, re.ASCII):
        raise ValueError(f"{name} must be a decimal above 0")
    try:
        check_positive(Decimal(text))
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


class ConfigurationsQuery(ListQuery):
    orders = configurations.ORDERS

    is_active: Flag | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class ConfigurationView(ViewModel):
    model_config = example(**CONFIGURATION, is_active=True, times_used=3, last_used_at=ASKED)

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
    last_used_at: Instant | None = Field(validation_alias="last_used")
    created_at: Instant
    updated_at: Instant


class ConfigurationRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint(
        "POST",
        PATH,
        "Create a configuration",
        status=201,
        errors=(NameTaken, ConfigurationsFull),
        scope="trade",
    )
    async def create_bot_configuration(self, call: Call, body: ConfigurationBody) -> Reply[ConfigurationView]:
        async with call.transaction() as connection:
            row = await create_configuration(connection, call.principal.user_id, body.values())
        return created(_view(row), f"{PATH}/{row.bot_configuration_id}")

    @endpoint("GET", PATH, "List your configurations, newest first")
    async def list_bot_configurations(self, call: Call, query: ConfigurationsQuery) -> Page[ConfigurationView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await configurations.list_configurations(
                connection, user_id, is_active=query.is_active, wanted=wanted
            )
        return query.page_of(rows, _view)

    @endpoint("GET", PATH + "/{id}", "Get a configuration", tagged=True)
    async def get_bot_configuration(self, call: Call) -> Reply[ConfigurationView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await configurations.get_configuration(connection, user_id, call.uuid())
        return _tagged(row)

    @endpoint(
        "PUT",
        PATH + "/{id}",
        "Change a configuration; running sessions keep their limits",
        errors=(NameTaken,),
        tagged=True,
        scope="trade",
    )
    async def change_bot_configuration(self, call: Call, body: ConfigurationBody) -> Reply[ConfigurationView]:
        values, user_id = body.values(), call.principal.user_id
        async with call.transaction() as connection:
            row = await change_configuration(connection, user_id, call.uuid(), values, call.if_match)
        return _tagged(row)

    @endpoint("DELETE", PATH + "/{id}", "Delete a configuration", status=204, tagged=True, scope="trade")
    async def delete_bot_configuration(self, call: Call) -> None:
        async with call.transaction() as connection:
            await delete_configuration(connection, call.principal.user_id, call.uuid(), call.if_match)


def _tagged(row: ConfigurationRow) -> Reply[ConfigurationView]:
    return tagged(_view(row), row.revision, row.updated_at)


def _view(row: ConfigurationRow) -> ConfigurationView:
    return ConfigurationView.model_validate(row)
