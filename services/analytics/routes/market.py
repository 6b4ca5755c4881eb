"""HTTP routes of the watchlist and of analyses of closed candles."""

from dataclasses import asdict
from typing import Literal

from pydantic import Field

from services.analytics.errors import AlreadyWatched, WatchlistFull
from services.analytics.operations.notes import change_notes, get_analysis
from services.analytics.operations.watchlist import get_watch, unwatch, watch
from services.analytics.queries import market
from services.analytics.queries.market import AnalysisRow
from services.analytics.routes.views import AnalysisView, WatchView, round_amount
from shared.chassis.errors import ExchangeUnreachable, NotFound
from shared.chassis.http.app import Call, Reply, created, tagged
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.examples import example
from shared.contracts.texts import Text
from shared.contracts.types import BodyModel, Flag, Id, Instant
from shared.market.fields import Interval, Symbol
from shared.market.history_client import CandleHistory

PATH = "/v1/watchlist"
ANALYSES = "/v1/market-analysis"


class WatchBody(BodyModel):
    model_config = example(interval="15", ema_period=20)

    symbol: Symbol
    interval: Interval
    ema_period: int = Field(default=20, ge=2, le=500)


class WatchlistQuery(ListQuery):
    orders = market.WATCH_ORDERS

    symbol: Symbol | None = None
    interval: Interval | None = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class AnalysisQuery(ListQuery):
    orders = market.ANALYSIS_ORDERS

    symbol: Symbol | None = None
    interval: Interval | None = None
    watch_id: Id | None = None
    is_watchlist: Flag | None = None
    sort: Literal["open_time", "-open_time"] = "-open_time"
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None


class NotesBody(BodyModel):
    """Null removes the notes."""

    model_config = example(notes="Above since the morning")

    notes: Text | None


class WatchlistRoutes(Routes):
    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history

    @endpoint(
        "POST",
        PATH,
        "Watch a symbol: each closed candle is analysed",
        status=201,
        errors=(AlreadyWatched, WatchlistFull, ExchangeUnreachable),
        scope="trade",
    )
    async def watch_symbol(self, call: Call, body: WatchBody) -> Reply[WatchView]:
        await call.replay_if_answered()
        await self._history.check_series(body.symbol, body.interval)
        async with call.transaction() as connection:
            row = await watch(connection, call.principal.user_id, body.symbol, body.interval, body.ema_period)
        return created(WatchView.model_validate(row), f"{PATH}/{row.watch_id}")

    @endpoint("GET", PATH, "List your watchlist, newest first")
    async def list_watchlist(self, call: Call, query: WatchlistQuery) -> Page[WatchView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await market.list_watches(
                connection, user_id, symbol=query.symbol, interval=query.interval, wanted=wanted
            )
        return query.page_of(rows, WatchView.model_validate)

    @endpoint("GET", PATH + "/{id}", "Get a watch")
    async def get_watched_symbol(self, call: Call) -> WatchView:
        async with self._database.tenant(call.principal.user_id) as connection:
            row = await get_watch(connection, call.principal.user_id, call.uuid())
        return WatchView.model_validate(row)

    @endpoint(
        "DELETE",
        PATH + "/{id}",
        "Remove a watch; its analyses are kept",
        status=204,
        errors=(NotFound,),
        scope="trade",
    )
    async def unwatch_symbol(self, call: Call) -> None:
        async with call.transaction() as connection:
            await unwatch(connection, call.principal.user_id, call.uuid())


class AnalysisRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint("GET", ANALYSES, "List analyses of the symbols you watch, newest first")
    async def list_market_analysis(self, call: Call, query: AnalysisQuery) -> Page[AnalysisView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await market.list_analyses(
                connection,
                user_id,
                symbol=query.symbol,
                interval=query.interval,
                watch_id=query.watch_id,
                is_watchlist=query.is_watchlist,
                first=query.from_,
                last=query.to,
                wanted=wanted,
            )
        return query.page_of(rows, _analysis_view)

    @endpoint("GET", ANALYSES + "/{id}", "Get an analysis", tagged=True)
    async def get_market_analysis(self, call: Call) -> Reply[AnalysisView]:
        async with self._database.tenant(call.principal.user_id) as connection:
            row = await get_analysis(connection, call.principal.user_id, call.uuid())
        return tagged(_analysis_view(row), row.version)

    @endpoint("PATCH", ANALYSES + "/{id}", "Edit your notes on an analysis", tagged=True, scope="trade")
    async def change_market_analysis(self, call: Call, body: NotesBody) -> Reply[AnalysisView]:
        async with call.transaction() as connection:
            row = await change_notes(connection, call.principal.user_id, call.uuid(), body.notes, call.if_match)
        return tagged(_analysis_view(row), row.version)


def _analysis_view(row: AnalysisRow) -> AnalysisView:
    fields = asdict(row)
    return AnalysisView.model_validate(
        {
            **fields,
            "analysis_id": row.analysis_id,
            "ema_value": round_amount(row.ema_value),
        }
    )
