"""`/v1/trades` and `/v1/decisions/{id}`."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from services.trading.queries import trades
from services.trading.routes.fields import Symbol
from services.trading.routes.views import DecisionView, TradeView, decision_view, trade_view
from shared.chassis.errors import InvalidInput, NotFound
from shared.chassis.http import Call, Endpoint
from shared.chassis.paging import Page, PageQuery, decode_cursor, encode_cursor, page_of
from shared.chassis.postgres import Database
from shared.contracts.types import Id, Instant, from_ms, to_ms


class TradesQuery(PageQuery):
    session_id: Id | None = None
    symbol: Symbol | None = None
    status: Literal["OPEN", "CLOSED", "CANCELLED"] | None = None
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None


class TradeRoutes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_trades(self, call: Call) -> Page[TradeView]:
        query, user_id = call.query(TradesQuery), call.principal.user_id
        position = decode_cursor(query.cursor, int, str)
        try:
            after = (from_ms(int(position[0])), UUID(str(position[1]))) if position else None
        except (ValueError, OverflowError) as error:
            fault = {"path": "$.cursor", "reason": "is not a cursor of this list"}
            raise InvalidInput(errors=[fault]) from error
        async with self._database.tenant(user_id) as connection:
            rows = await trades.list_trades(
                connection,
                user_id,
                session_id=query.session_id,
                symbol=query.symbol,
                status=query.status,
                first=query.from_,
                last=query.to,
                after=after,
                limit=query.limit + 1,
            )
        return page_of(
            [trade_view(row) for row in rows],
            query.limit,
            lambda last: encode_cursor(to_ms(last.entry_time), str(last.trade_id)),
        )

    async def get_trade(self, call: Call) -> TradeView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await trades.get_trade(connection, user_id, call.uuid())
        if row is None:
            raise NotFound
        return trade_view(row)

    async def get_decision(self, call: Call) -> DecisionView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await trades.get_decision(connection, user_id, call.uuid())
        if row is None:
            raise NotFound
        return decision_view(row)

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/trades",
                self.list_trades,
                "Your trades, in the order of their entries",
                response=Page[TradeView],
                query=TradesQuery,
            ),
            Endpoint("GET", "/v1/trades/{id}", self.get_trade, "A trade", response=TradeView),
            Endpoint(
                "GET",
                "/v1/decisions/{id}",
                self.get_decision,
                "Why it traded: values and checks at the decision bar",
                response=DecisionView,
            ),
        ]
