"""`/v1/trades`, `/v1/fills` and `/v1/decisions`: the trades, fills and decisions of all sessions."""

from typing import Annotated, Literal

from pydantic import Field

from services.trading.operations.explain_decision import explain_decision
from services.trading.operations.note_trade import note_trade
from services.trading.queries import decisions, fills, trades
from services.trading.queries.decisions import DecisionFilter
from services.trading.queries.fills import FillFilter
from services.trading.queries.trades import TradeFilter, TradeRow
from services.trading.routes.views import (
    DecisionOutcome,
    DecisionView,
    ExplainedView,
    FillView,
    RefusalCode,
    TradeView,
    decision_view,
    explained_view,
    fill_view,
    trade_view,
)
from shared.chassis.http.app import Call, Reply, tagged
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.examples import example
from shared.contracts.texts import Text
from shared.contracts.types import BodyModel, Id, Instant
from shared.market.fields import Symbol

From = Annotated[Instant | None, Field(alias="from")]


class TradesQuery(ListQuery):
    """`from` and `to` are entry times."""

    orders = trades.ORDERS

    session_id: Id | None = None
    strategy_id: Id | None = None
    symbol: Symbol | None = None
    status: Literal["OPEN", "CLOSED", "CANCELLED"] | None = None
    from_: From = None
    to: Instant | None = None
    sort: Literal["entry_time", "-entry_time", "created_at", "-created_at"] = "-entry_time"


class FillsQuery(ListQuery):
    orders = fills.ALL_ORDERS

    session_id: Id | None = None
    trade_id: Id | None = None
    decision_id: Id | None = None
    symbol: Symbol | None = None
    from_: From = None
    to: Instant | None = None
    sort: Literal["fill_time", "-fill_time"] = "-fill_time"


class DecisionsQuery(ListQuery):
    """`from` and `to` are times of the decision bar."""

    orders = decisions.ORDERS

    session_id: Id | None = None
    symbol: Symbol | None = None
    kind: Literal["entry", "exit"] | None = None
    outcome: DecisionOutcome | None = None
    refusal: RefusalCode | None = None
    from_: From = None
    to: Instant | None = None
    sort: Literal["bar_time", "-bar_time"] = "-bar_time"


class TradeChanges(BodyModel):
    model_config = example(notes="The news came a bar later")

    notes: Text | None


class TradeRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint("GET", "/v1/trades", "List your trades, newest first")
    async def list_trades(self, call: Call, query: TradesQuery) -> Page[TradeView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        filters = TradeFilter(
            query.session_id, query.strategy_id, query.symbol, query.status, query.from_, query.to
        )
        async with self._database.tenant(user_id) as connection:
            rows = await trades.list_trades(connection, user_id, filters, wanted)
        return query.page_of(rows, trade_view)

    @endpoint("GET", "/v1/trades/{id}", "Get a trade", tagged=True)
    async def get_trade(self, call: Call) -> Reply[TradeView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await trades.get_trade(connection, user_id, call.uuid())
        return _tagged(row)

    @endpoint("PATCH", "/v1/trades/{id}", "Change the notes of a trade", tagged=True, scope="trade")
    async def note_trade(self, call: Call, body: TradeChanges) -> Reply[TradeView]:
        async with call.transaction() as connection:
            row = await note_trade(connection, call.principal.user_id, call.uuid(), body.notes, call.if_match)
        return _tagged(row)

    @endpoint("GET", "/v1/fills", "List your fills, newest first")
    async def list_all_fills(self, call: Call, query: FillsQuery) -> Page[FillView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        filters = FillFilter(
            query.session_id, query.trade_id, query.decision_id, query.symbol, query.from_, query.to
        )
        async with self._database.tenant(user_id) as connection:
            rows = await fills.list_all_fills(connection, user_id, filters, wanted)
        return query.page_of(rows, fill_view)

    @endpoint("GET", "/v1/fills/{id}", "Get a fill")
    async def get_fill(self, call: Call) -> FillView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await fills.get_fill(connection, user_id, call.uuid())
        return fill_view(row)

    @endpoint("GET", "/v1/decisions", "List your sessions' decisions, newest first")
    async def list_all_decisions(self, call: Call, query: DecisionsQuery) -> Page[DecisionView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        filters = DecisionFilter(
            query.session_id, query.symbol, query.kind, query.outcome, query.refusal, query.from_, query.to
        )
        async with self._database.tenant(user_id) as connection:
            rows = await decisions.list_decisions(connection, user_id, filters, wanted)
        return query.page_of(rows, decision_view)

    @endpoint(
        "GET",
        "/v1/decisions/{id}",
        "Explain a decision: values, checks and limits at its bar, and the resulting fills",
    )
    async def get_decision(self, call: Call) -> ExplainedView:
        async with self._database.tenant(call.principal.user_id) as connection:
            return explained_view(await explain_decision(connection, call.principal.user_id, call.uuid()))


def _tagged(row: TradeRow) -> Reply[TradeView]:
    return tagged(trade_view(row), row.revision, row.updated_at)
