"""`/v1/strategies`: the document of docs/strategy.md as body."""

from dataclasses import asdict
from uuid import UUID

from pydantic import RootModel

from services.trading.errors import NameTaken, StrategyInUse, StrategyInvalid
from services.trading.operations.strategies import change_strategy, create_strategy, delete_strategy
from services.trading.queries import strategies
from services.trading.queries.strategies import StrategyRow, VersionRow
from services.trading.routes.naming import decode_uuid_cursor, named
from shared.chassis.errors import NotFound
from shared.chassis.http import Call, Endpoint, Reply, created
from shared.chassis.paging import Page, PageQuery, decode_cursor, encode_cursor, page_of
from shared.chassis.postgres import Database
from shared.contracts.types import Amount, Instant, ViewModel


class StrategyBody(RootModel[dict[str, object]]):
    """A strategy document; what it may hold is in docs/strategy.md."""


class StrategyView(ViewModel):
    strategy_id: UUID
    strategy_name: str
    strategy_description: str | None
    strategy_config: dict[str, object]
    entry_conditions: dict[str, object]
    exit_conditions: dict[str, object] | None
    risk_management: dict[str, object]
    content_hash: str
    version: int
    total_uses: int
    win_rate: Amount | None
    avg_pnl: Amount | None
    is_public: bool
    is_active: bool
    created_at: Instant
    updated_at: Instant


class VersionView(ViewModel):
    strategy_id: UUID
    version: int
    content_hash: str
    document: dict[str, object]
    created_at: Instant


def strategy_endpoints(database: Database) -> list[Endpoint]:
    async def create(call: Call) -> Reply:
        row = await create_strategy(database, call.principal.user_id, call.body(StrategyBody).root)
        return created(_view(row), f"/v1/strategies/{row.strategy_id}")

    async def list_(call: Call) -> Page[StrategyView]:
        query = call.query(PageQuery)
        after = decode_uuid_cursor(query.cursor)
        async with database.tenant(call.principal.user_id) as connection:
            rows = await strategies.list_strategies(connection, call.principal.user_id, after, query.limit + 1)
        return page_of([_view(row) for row in rows], query.limit, lambda last: encode_cursor(str(last.strategy_id)))

    async def get(call: Call) -> StrategyView:
        async with database.tenant(call.principal.user_id) as connection:
            row = await strategies.get_strategy(connection, call.principal.user_id, call.uuid())
        if row is None or not row.is_active:
            raise NotFound
        return _view(row)

    async def change(call: Call) -> StrategyView:
        body = call.body(StrategyBody).root
        return _view(await change_strategy(database, call.principal.user_id, call.uuid(), body))

    async def add_version(call: Call) -> Reply:
        body = call.body(StrategyBody).root
        row = await change_strategy(database, call.principal.user_id, call.uuid(), body)
        return created(_view(row), f"/v1/strategies/{row.strategy_id}/versions")

    async def delete(call: Call) -> None:
        await delete_strategy(database, call.principal.user_id, call.uuid())

    async def list_versions(call: Call) -> Page[VersionView]:
        query = call.query(PageQuery)
        position = decode_cursor(query.cursor, int)
        user_id, strategy_id = call.principal.user_id, call.uuid()
        async with database.tenant(user_id) as connection:
            if await strategies.get_strategy(connection, user_id, strategy_id) is None:
                raise NotFound
            after = int(position[0]) if position else 0
            rows = await strategies.list_versions(connection, user_id, strategy_id, after, query.limit + 1)
        return page_of([_version(row) for row in rows], query.limit, lambda last: encode_cursor(last.version))

    one = "/v1/strategies/{id}"
    return [
        Endpoint(
            "POST",
            "/v1/strategies",
            named(create, "create_strategy"),
            "Make a strategy",
            response=StrategyView,
            status=201,
            body=StrategyBody,
            errors=(NameTaken, StrategyInvalid),
        ),
        Endpoint(
            "GET",
            "/v1/strategies",
            named(list_, "list_strategies"),
            "Your strategies",
            response=Page[StrategyView],
            query=PageQuery,
        ),
        Endpoint("GET", one, named(get, "get_strategy"), "A strategy as it is now", response=StrategyView),
        Endpoint(
            "PUT",
            one,
            named(change, "change_strategy"),
            "Change a strategy: a new version; running sessions stay on theirs",
            response=StrategyView,
            body=StrategyBody,
            errors=(NameTaken, StrategyInvalid),
        ),
        Endpoint(
            "DELETE",
            one,
            named(delete, "delete_strategy"),
            "Give up a strategy",
            status=204,
            errors=(StrategyInUse,),
        ),
        Endpoint(
            "GET",
            one + "/versions",
            named(list_versions, "list_strategy_versions"),
            "All versions of a strategy; none ever changes",
            response=Page[VersionView],
            query=PageQuery,
        ),
        Endpoint(
            "POST",
            one + "/versions",
            named(add_version, "add_strategy_version"),
            "Add a version",
            response=StrategyView,
            status=201,
            body=StrategyBody,
            errors=(NameTaken, StrategyInvalid),
        ),
    ]


def _view(row: StrategyRow) -> StrategyView:
    return StrategyView.model_validate(asdict(row))


def _version(row: VersionRow) -> VersionView:
    return VersionView.model_validate(asdict(row))
