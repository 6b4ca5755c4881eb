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
from shared.chassis.errors import PlanLimitReached
from shared.chassis.http.app import Call, Reply
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.amounts import Fraction, Positive
from shared.contracts.examples import example
from shared.contracts.types import BodyModel, Id, Instant
from shared.market.fields import Symbol

PATH = "/v1/backtests"
INITIAL_BALANCE = Decimal(10_000)


class BacktestBody(BodyModel):
    """The backtest covers the closed bars that open at or after `from` and before `to`; indicators begin with the
    first of them. `fee_rate` and `slippage` default to those of paper trading, `initial_balance` to 10000."""

    model_config = example(
        from_="2026-01-01T00:00:00Z",
        to="2026-02-01T00:00:00Z",
        fee_rate="0.00055",
        slippage="0.0001",
        initial_balance="10000",
    )

    strategy_id: Id
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    symbol: Symbol
    from_: Instant = Field(alias="from")
    to: Instant
    fee_rate: Fraction | None = None
    slippage: Fraction | None = None
    initial_balance: Positive | None = None


class BacktestsQuery(ListQuery):
    orders = backtests.ORDERS

    status: BacktestStatus | None = None
    strategy_id: Id | None = None
    symbol: Symbol | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class BacktestFillsQuery(ListQuery):
    orders = backtest_results.FILL_ORDERS

    sort: Literal["fill_number", "-fill_number"] = "-fill_number"


class BacktestTradesQuery(ListQuery):
    orders = backtest_results.TRADE_ORDERS

    sort: Literal["trade_number", "-trade_number"] = "-trade_number"


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
            self._paper.fee if body.fee_rate is None else body.fee_rate,
            self._paper.slippage if body.slippage is None else body.slippage,
            body.initial_balance or INITIAL_BALANCE,
        )
        await call.replay_if_answered()
        await self._listing.refresh(body.symbol)
        async with call.transaction() as connection:
            row = await queue_backtest(connection, call.principal.user_id, request, self._most_bars, call.now)
        return Reply(backtest_view(row), headers={"Location": f"{PATH}/{row.backtest_id}"})

    @endpoint("GET", PATH, "List your backtests, newest first")
    async def list_backtests(self, call: Call, query: BacktestsQuery) -> Page[BacktestView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await backtests.list_backtests(
                connection,
                user_id,
                status=query.status,
                strategy_id=query.strategy_id,
                symbol=query.symbol,
                wanted=wanted,
            )
        return query.page_of(rows, backtest_view)

    @endpoint("GET", PATH + "/{id}", "Get a backtest with its progress or result")
    async def get_backtest(self, call: Call) -> BacktestView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await backtests.get_backtest(connection, user_id, call.uuid())
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
        "List a backtest's fills, newest first; empty until it is done",
    )
    async def list_backtest_fills(self, call: Call, query: BacktestFillsQuery) -> Page[BacktestFillView]:
        user_id = call.principal.user_id
        wanted, result_id = query.slice(), await self._result_of(call)
        async with self._database.tenant(user_id) as connection:
            rows = await backtest_results.list_fills(connection, user_id, result_id, wanted) if result_id else []
        return query.page_of(rows, fill_view)

    @endpoint(
        "GET",
        PATH + "/{id}/trades",
        "List a backtest's trades, newest first; empty until it is done",
    )
    async def list_backtest_trades(self, call: Call, query: BacktestTradesQuery) -> Page[BacktestTradeView]:
        user_id = call.principal.user_id
        wanted, result_id = query.slice(), await self._result_of(call)
        async with self._database.tenant(user_id) as connection:
            rows = await backtest_results.list_trades(connection, user_id, result_id, wanted) if result_id else []
        return query.page_of(rows, trade_view)

    async def _result_of(self, call: Call) -> UUID | None:
        """Return the id of the backtest's result, or None while it has none. Raises NotFound."""
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await backtests.get_backtest(connection, user_id, call.uuid())
        return row.result.result_id if row.result else None
