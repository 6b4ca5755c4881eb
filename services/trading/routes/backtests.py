"""`/v1/backtests`: request, follow and cancel backtests; list their fills and trades."""

from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from services.trading.backtest_question import BacktestStatus
from services.trading.errors import BacktestEnded, TooManyBacktests
from services.trading.listed_series import Listing
from services.trading.operations.queue_backtest import BacktestRequest, cancel_backtest, queue_backtest
from services.trading.operations.start_session import PaperTerms
from services.trading.queries import backtest_results, backtests
from services.trading.routes.backtest_views import (
    BacktestFillView,
    BacktestTradeView,
    BacktestView,
    backtest_view,
    fill_view,
    trade_view,
)
from services.trading.routes.fields import Symbol
from services.trading.routes.ordering import encode_position, parse_cursor
from shared.chassis.errors import NotFound, PlanLimitReached
from shared.chassis.http.app import Call, Reply
from shared.chassis.http.paging import (
    Page,
    PageQuery,
    decode_cursor,
    encode_cursor,
    page_of,
)
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.amounts import Fraction, Positive
from shared.contracts.examples import example
from shared.contracts.types import BodyModel, Id, Instant

PATH = "/v1/backtests"
Order = Literal["created_at", "-created_at"]
INITIAL_BALANCE = Decimal(10_000)


class BacktestBody(BodyModel):
    """The backtest covers the closed bars that open at or after `from` and before `to`; indicators begin with the
    first of them. `fee` and `slippage` default to those of paper trading, `initial_balance` to 10000."""

    model_config = example(
        from_="2026-01-01T00:00:00Z",
        to="2026-02-01T00:00:00Z",
        fee="0.00055",
        slippage="0.0001",
        initial_balance="10000",
    )

    strategy_id: Id
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    symbol: Symbol
    from_: Instant = Field(alias="from")
    to: Instant
    fee: Fraction | None = None
    slippage: Fraction | None = None
    initial_balance: Positive | None = None


class BacktestsQuery(PageQuery):
    status: BacktestStatus | None = None
    strategy_id: Id | None = None
    symbol: Symbol | None = None
    sort: Order = "-created_at"


class BacktestRoutes(Routes):
    def __init__(self, database: Database, listing: Listing, paper: PaperTerms, most_bars: int) -> None:
        self._database = database
        self._listing = listing
        self._paper = paper
        self._most_bars = most_bars

    @endpoint(
        "POST",
        PATH,
        "Queue a backtest over stored candles; a repeated request is answered from the stored result",
        status=202,
        errors=(PlanLimitReached, TooManyBacktests),
        scope="trade",
    )
    async def create_backtest(self, call: Call, body: BacktestBody) -> Reply[BacktestView]:
        request = BacktestRequest(
            body.strategy_id,
            body.version,
            body.symbol,
            body.from_,
            body.to,
            self._paper.fee if body.fee is None else body.fee,
            self._paper.slippage if body.slippage is None else body.slippage,
            body.initial_balance or INITIAL_BALANCE,
        )
        await call.replay_if_answered()
        await self._listing.refresh(body.symbol)
        async with call.transaction() as connection:
            row = await queue_backtest(connection, call.principal.user_id, request, self._most_bars, call.now)
        return Reply(backtest_view(row), headers={"Location": f"{PATH}/{row.backtest_id}"})

    @endpoint("GET", PATH, "List your backtests")
    async def list_backtests(self, call: Call, query: BacktestsQuery) -> Page[BacktestView]:
        user_id = call.principal.user_id
        after = parse_cursor(query.sort, query.cursor)
        async with self._database.tenant(user_id) as connection:
            rows = await backtests.list_backtests(
                connection,
                user_id,
                status=query.status,
                strategy_id=query.strategy_id,
                symbol=query.symbol,
                newest_first=query.sort == "-created_at",
                after=after,
                limit=query.limit + 1,
            )
        return page_of(
            [backtest_view(row) for row in rows],
            query.limit,
            lambda last: encode_position(query.sort, last.created_at, last.backtest_id),
        )

    @endpoint("GET", PATH + "/{id}", "Get a backtest with its progress or result")
    async def get_backtest(self, call: Call) -> BacktestView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await backtests.get_backtest(connection, user_id, call.uuid())
        if row is None:
            raise NotFound
        return backtest_view(row)

    @endpoint(
        "DELETE",
        PATH + "/{id}",
        "Cancel a queued or running backtest",
        errors=(BacktestEnded,),
        scope="trade",
    )
    async def cancel_backtest(self, call: Call) -> BacktestView:
        async with call.transaction() as connection:
            row = await cancel_backtest(connection, call.principal.user_id, call.uuid(), call.now)
        return backtest_view(row)

    @endpoint(
        "GET",
        PATH + "/{id}/fills",
        "List a backtest's fills in the order they happened; empty until it is done",
    )
    async def list_backtest_fills(self, call: Call, query: PageQuery) -> Page[BacktestFillView]:
        user_id = call.principal.user_id
        after, result_id = _number(query), await self._result_of(call)
        async with self._database.tenant(user_id) as connection:
            rows = (
                await backtest_results.list_fills(connection, user_id, result_id, after, query.limit + 1)
                if result_id
                else []
            )
        return page_of([fill_view(row) for row in rows], query.limit, lambda last: encode_cursor(last.fill_number))

    @endpoint(
        "GET",
        PATH + "/{id}/trades",
        "List a backtest's trades in the order they closed; empty until it is done",
    )
    async def list_backtest_trades(self, call: Call, query: PageQuery) -> Page[BacktestTradeView]:
        user_id = call.principal.user_id
        after, result_id = _number(query), await self._result_of(call)
        async with self._database.tenant(user_id) as connection:
            rows = (
                await backtest_results.list_trades(connection, user_id, result_id, after, query.limit + 1)
                if result_id
                else []
            )
        return page_of(
            [trade_view(row) for row in rows], query.limit, lambda last: encode_cursor(last.trade_number)
        )

    async def _result_of(self, call: Call) -> UUID | None:
        """Return the id of the backtest's result, or None while it has none. Raises NotFound."""
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await backtests.get_backtest(connection, user_id, call.uuid())
        if row is None:
            raise NotFound
        return row.result.result_id if row.result else None


def _number(query: PageQuery) -> int:
    position = decode_cursor(query.cursor, int)
    return int(position[0]) if position else 0
