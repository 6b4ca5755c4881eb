"""`/v1/strategies`: strategies and their versions; the body is the document described in docs/strategy.md."""

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue, RootModel

from services.trading.errors import StrategiesFull, StrategyInUse, VersionsFull
from services.trading.operations.strategies import (
    change_strategy,
    create_strategy,
    delete_strategy,
    set_strategy_active,
)
from services.trading.queries import strategies
from services.trading.queries.strategies import StrategyRow, VersionRow
from shared.chassis.errors import InvalidInput, NameTaken, PlanLimitReached
from shared.chassis.http.app import Call, Reply, created, tagged
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Connection, Database
from shared.contracts.examples import HASH, STRATEGY, example
from shared.contracts.types import Flag, Instant, QueryModel, Statistic, ViewModel
from shared.statistics import WIN_RATE
from shared.strategy.document.differences import differences

PATH = "/v1/strategies"
VERSION_LIMIT = 2**31 - 1


class StrategyBody(RootModel[dict[str, object]]):
    """A strategy document; its format is described in docs/strategy.md."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**STRATEGY}]})


class StrategiesQuery(ListQuery):
    orders = strategies.ORDERS

    is_active: Flag | None = None
    is_public: Flag | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class VersionsQuery(ListQuery):
    orders = strategies.VERSION_ORDERS

    sort: Literal["version", "-version"] = "-version"


class ComparisonQuery(QueryModel):
    """Two versions of the strategy: `to_version` defaults to the newest, `from_version` to the one before it."""

    from_version: int | None = Field(default=None, ge=1, le=VERSION_LIMIT)
    to_version: int | None = Field(default=None, ge=1, le=VERSION_LIMIT)


class StrategyView(ViewModel):
    """`total_trades` counts closed trades; the win rate and `expectancy`, the mean pnl, are over these."""

    model_config = example(is_public=True, published_version=1)

    strategy_id: UUID
    strategy_name: str
    strategy_description: str | None
    strategy_config: dict[str, object]
    entry_conditions: dict[str, object]
    exit_conditions: dict[str, object] | None
    risk_management: dict[str, object]
    content_hash: str
    version: int
    total_trades: int = Field(validation_alias="total_uses")
    win_rate_percentage: Statistic = Field(validation_alias="win_rate", description=WIN_RATE)
    expectancy: Statistic = Field(validation_alias="avg_pnl")
    is_public: bool
    is_active: bool
    published_strategy_id: UUID | None
    published_version: int | None
    created_at: Instant
    updated_at: Instant


class VersionView(ViewModel):
    strategy_id: UUID
    version: int
    content_hash: str
    document: dict[str, object]
    created_at: Instant


class DifferenceView(ViewModel):
    """`old` is null for an added value, `new` for a removed one."""

    model_config = example(path="$.strategy_config.indicators.fast.period", change="changed", old=5, new=8)

    path: str
    change: Literal["added", "removed", "changed"]
    old: JsonValue
    new: JsonValue


class ComparisonView(ViewModel):
    """The hashes cover what is executed; name and description are not part of them."""

    model_config = example(from_version=1, to_version=2, from_hash=HASH, to_hash=HASH[::-1], hash_differs=True)

    strategy_id: UUID
    from_version: int
    to_version: int
    from_hash: str
    to_hash: str
    hash_differs: bool
    differences: list[DifferenceView]


class StrategyRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint(
        "POST",
        PATH,
        "Create a strategy",
        status=201,
        errors=(NameTaken, PlanLimitReached, StrategiesFull),
        scope="trade",
    )
    async def create_strategy(self, call: Call, body: StrategyBody) -> Reply[StrategyView]:
        async with call.transaction() as connection:
            row = await create_strategy(connection, call.principal.user_id, body.root)
        return created(strategy_view(row), f"{PATH}/{row.strategy_id}")

    @endpoint("GET", PATH, "List your strategies, newest first")
    async def list_strategies(self, call: Call, query: StrategiesQuery) -> Page[StrategyView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await strategies.list_strategies(
                connection,
                user_id,
                is_active=query.is_active,
                is_public=query.is_public,
                wanted=wanted,
            )
        return query.page_of(rows, strategy_view)

    @endpoint("GET", PATH + "/{id}", "Get a strategy in its current version", tagged=True)
    async def get_strategy(self, call: Call) -> Reply[StrategyView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await strategies.get_strategy(connection, user_id, call.uuid())
        return _tagged(row)

    @endpoint(
        "PUT",
        PATH + "/{id}",
        "Change a strategy, which creates a version; running sessions stay on theirs",
        errors=(NameTaken, VersionsFull),
        tagged=True,
        scope="trade",
    )
    async def change_strategy(self, call: Call, body: StrategyBody) -> Reply[StrategyView]:
        async with call.transaction() as connection:
            row = await change_strategy(connection, call.principal.user_id, call.uuid(), body.root, call.if_match)
        return _tagged(row)

    @endpoint(
        "DELETE",
        PATH + "/{id}",
        "Delete a strategy; its versions stay for the trades that refer to them",
        status=204,
        errors=(StrategyInUse,),
        tagged=True,
        scope="trade",
    )
    async def delete_strategy(self, call: Call) -> None:
        async with call.transaction() as connection:
            await delete_strategy(connection, call.principal.user_id, call.uuid(), call.if_match)

    @endpoint(
        "POST",
        PATH + "/{id}/versions",
        "Add a version to a strategy",
        status=201,
        errors=(NameTaken, VersionsFull),
        scope="trade",
    )
    async def add_strategy_version(self, call: Call, body: StrategyBody) -> Reply[StrategyView]:
        async with call.transaction() as connection:
            row = await change_strategy(connection, call.principal.user_id, call.uuid(), body.root)
        return created(strategy_view(row), f"{PATH}/{row.strategy_id}/versions/{row.version}")

    @endpoint(
        "POST",
        PATH + "/{id}/deactivate",
        "Deactivate a strategy: it starts no more sessions; running ones continue",
        scope="trade",
    )
    async def deactivate_strategy(self, call: Call) -> StrategyView:
        async with call.transaction() as connection:
            row = await set_strategy_active(connection, call.principal.user_id, call.uuid(), is_active=False)
        return strategy_view(row)

    @endpoint(
        "POST",
        PATH + "/{id}/reactivate",
        "Reactivate a strategy, so that it can start sessions again",
        scope="trade",
    )
    async def reactivate_strategy(self, call: Call) -> StrategyView:
        async with call.transaction() as connection:
            row = await set_strategy_active(connection, call.principal.user_id, call.uuid(), is_active=True)
        return strategy_view(row)

    @endpoint(
        "GET", PATH + "/{id}/versions", "List all versions of a strategy, newest first; versions never change"
    )
    async def list_strategy_versions(self, call: Call, query: VersionsQuery) -> Page[VersionView]:
        user_id, strategy_id, wanted = call.principal.user_id, call.uuid(), query.slice()
        async with self._database.tenant(user_id) as connection:
            await strategies.get_strategy(connection, user_id, strategy_id)
            rows = await strategies.list_versions(connection, user_id, strategy_id, wanted)
        return query.page_of(rows, _version)

    @endpoint("GET", PATH + "/{id}/versions/{version}", "Get a version")
    async def get_strategy_version(self, call: Call) -> VersionView:
        user_id, strategy_id = call.principal.user_id, call.uuid()
        async with self._database.tenant(user_id) as connection:
            row = await strategies.get_version(connection, user_id, strategy_id, call.number("version"))
        return _version(row)

    @endpoint("GET", PATH + "/{id}/comparison", "List the differences between two versions by JSON path")
    async def compare_strategy_versions(self, call: Call, query: ComparisonQuery) -> ComparisonView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            strategy = await strategies.get_strategy(connection, user_id, call.uuid())
            to = query.to_version or strategy.version
            new = await _require_version(connection, user_id, strategy, "to_version", to)
            earlier = query.from_version or max(1, to - 1)
            old = await _require_version(connection, user_id, strategy, "from_version", earlier)
        return _comparison_view(old, new)


async def _require_version(
    connection: Connection, user_id: int, strategy: StrategyRow, field: str, version: int
) -> VersionRow:
    """Raises InvalidInput."""
    row = await strategies.find_version(connection, user_id, strategy.strategy_id, version)
    if row is None:
        reason = f"there is no version {version}, the newest is {strategy.version}"
        raise InvalidInput(errors=[{"path": f"$.{field}", "reason": reason}])
    return row


def _comparison_view(old: VersionRow, new: VersionRow) -> ComparisonView:
    found = differences(old.document, new.document)
    return ComparisonView(
        strategy_id=old.strategy_id,
        from_version=old.version,
        to_version=new.version,
        from_hash=old.content_hash,
        to_hash=new.content_hash,
        hash_differs=old.content_hash != new.content_hash,
        differences=[DifferenceView.model_validate(each) for each in found],
    )


def strategy_view(row: StrategyRow) -> StrategyView:
    return StrategyView.model_validate(row)


def _tagged(row: StrategyRow) -> Reply[StrategyView]:
    return tagged(strategy_view(row), row.revision, row.updated_at)


def _version(row: VersionRow) -> VersionView:
    return VersionView.model_validate(row)
