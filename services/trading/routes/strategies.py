"""`/v1/strategies`: the document of docs/strategy.md as body."""

from dataclasses import asdict
from uuid import UUID

from pydantic import RootModel

from services.trading.errors import StrategyInUse
from services.trading.operations.strategies import change_strategy, create_strategy, delete_strategy
from services.trading.queries import strategies
from services.trading.queries.strategies import StrategyRow, VersionRow
from services.trading.routes.naming import decode_uuid_cursor
from shared.chassis.errors import NameTaken, NotFound
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


class StrategyRoutes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_strategy(self, call: Call) -> Reply:
        row = await create_strategy(self._database, call.principal.user_id, call.body(StrategyBody).root)
        return created(_view(row), f"/v1/strategies/{row.strategy_id}")

    async def list_strategies(self, call: Call) -> Page[StrategyView]:
        query, user_id = call.query(PageQuery), call.principal.user_id
        after = decode_uuid_cursor(query.cursor)
        async with self._database.tenant(user_id) as connection:
            rows = await strategies.list_strategies(connection, user_id, after, query.limit + 1)
        views = [_view(row) for row in rows]
        return page_of(views, query.limit, lambda last: encode_cursor(str(last.strategy_id)))

    async def get_strategy(self, call: Call) -> StrategyView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await strategies.get_strategy(connection, user_id, call.uuid())
        if row is None or not row.is_active:
            raise NotFound
        return _view(row)

    async def change_strategy(self, call: Call) -> StrategyView:
        body = call.body(StrategyBody).root
        return _view(await change_strategy(self._database, call.principal.user_id, call.uuid(), body))

    async def add_strategy_version(self, call: Call) -> Reply:
        view = await self.change_strategy(call)
        return created(view, f"/v1/strategies/{view.strategy_id}/versions")

    async def delete_strategy(self, call: Call) -> None:
        await delete_strategy(self._database, call.principal.user_id, call.uuid())

    async def list_strategy_versions(self, call: Call) -> Page[VersionView]:
        query, user_id, strategy_id = call.query(PageQuery), call.principal.user_id, call.uuid()
        position = decode_cursor(query.cursor, int)
        after = int(position[0]) if position else 0
        async with self._database.tenant(user_id) as connection:
            if await strategies.get_strategy(connection, user_id, strategy_id) is None:
                raise NotFound
            rows = await strategies.list_versions(connection, user_id, strategy_id, after, query.limit + 1)
        return page_of([_version(row) for row in rows], query.limit, lambda last: encode_cursor(last.version))

    def endpoints(self) -> list[Endpoint]:
        every, one, versions = "/v1/strategies", "/v1/strategies/{id}", "/v1/strategies/{id}/versions"
        view, body, taken = StrategyView, StrategyBody, (NameTaken,)
        listed, told = Page[StrategyView], Page[VersionView]
        changing = "Change a strategy: a new version; running sessions stay on theirs"
        return [
            Endpoint(
                "POST",
                every,
                self.create_strategy,
                "Make a strategy",
                status=201,
                response=view,
                body=body,
                errors=taken,
            ),
            Endpoint("GET", every, self.list_strategies, "Your strategies", listed, query=PageQuery),
            Endpoint("GET", one, self.get_strategy, "A strategy as it is now", view),
            Endpoint("PUT", one, self.change_strategy, changing, response=view, body=body, errors=taken),
            Endpoint(
                "DELETE", one, self.delete_strategy, "Give up a strategy", status=204, errors=(StrategyInUse,)
            ),
            Endpoint(
                "GET",
                versions,
                self.list_strategy_versions,
                "All versions of a strategy; none ever changes",
                told,
                query=PageQuery,
            ),
            Endpoint(
                "POST",
                versions,
                self.add_strategy_version,
                "Add a version",
                status=201,
                response=view,
                body=body,
                errors=taken,
            ),
        ]


def _view(row: StrategyRow) -> StrategyView:
    return StrategyView.model_validate(asdict(row))


def _version(row: VersionRow) -> VersionView:
    return VersionView.model_validate(asdict(row))
