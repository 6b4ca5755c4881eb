"""What a user watches, and how it looked at each closed candle."""

from dataclasses import asdict
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from services.analytics.errors import AlreadyWatched, WatchlistFull
from services.analytics.operations.watchlist import unwatch, watch
from services.analytics.queries import market
from services.analytics.queries.market import AnalysisRow
from services.analytics.routes.cursors import id_in, moment_in
from services.analytics.routes.views import AnalysisView, WatchView, shortened
from shared.chassis.errors import NotFound
from shared.chassis.http import Call, Endpoint, Reply, created
from shared.chassis.paging import Page, PageQuery, decode_cursor, encode_cursor, page_of
from shared.chassis.postgres import Database
from shared.contracts.types import BodyModel, Instant, instant_text
from shared.strategy.bars import INTERVAL_MS

PATH = "/v1/watchlist"

Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,30}$")]


def _known(interval: str) -> str:
    if interval not in INTERVAL_MS:
        raise ValueError(f"must be one of {' '.join(INTERVAL_MS)}")
    return interval


Interval = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": [*INTERVAL_MS]})]


class WatchBody(BodyModel):
    symbol: Symbol
    interval: Interval
    ema_period: int = Field(default=20, ge=2, le=500)


class AnalysisQuery(PageQuery):
    symbol: Symbol | None = None
    interval: Interval | None = None
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None


def market_endpoints(database: Database) -> list[Endpoint]:
    async def watch_symbol(call: Call) -> Reply:
        body = call.body(WatchBody)
        row = await watch(database, call.principal.user_id, body.symbol, body.interval, body.ema_period)
        return created(WatchView.model_validate(asdict(row)), f"{PATH}/{row.watch_id}")

    async def list_watchlist(call: Call) -> Page[WatchView]:
        query, user_id = call.query(PageQuery), call.principal.user_id
        position = decode_cursor(query.cursor, str)
        async with database.tenant(user_id) as connection:
            rows = await market.list_watches(connection, user_id, id_in(position), query.limit + 1)
        views = [WatchView.model_validate(asdict(row)) for row in rows]
        return page_of(views, query.limit, lambda last: encode_cursor(str(last.watch_id)))

    async def unwatch_symbol(call: Call) -> None:
        await unwatch(database, call.principal.user_id, call.uuid())

    async def list_market_analysis(call: Call) -> Page[AnalysisView]:
        query, user_id = call.query(AnalysisQuery), call.principal.user_id
        position = decode_cursor(query.cursor, str, str)
        async with database.tenant(user_id) as connection:
            rows = await market.list_analyses(
                connection,
                user_id,
                symbol=query.symbol,
                interval=query.interval,
                first=query.from_,
                last=query.to,
                after=moment_in(position),
                limit=query.limit + 1,
            )
        views = [_analysis_view(row) for row in rows]
        return page_of(
            views, query.limit, lambda last: encode_cursor(instant_text(last.timestamp), str(last.watch_id))
        )

    return [
        Endpoint(
            "POST",
            PATH,
            watch_symbol,
            "Watch a symbol: an analysis of each closed candle",
            response=WatchView,
            status=201,
            body=WatchBody,
            errors=(AlreadyWatched, WatchlistFull),
        ),
        Endpoint("GET", PATH, list_watchlist, "What you watch", response=Page[WatchView], query=PageQuery),
        Endpoint(
            "DELETE",
            PATH + "/{id}",
            unwatch_symbol,
            "Watch no more; what was seen stays",
            status=204,
            errors=(NotFound,),
        ),
        Endpoint(
            "GET",
            "/v1/market-analysis",
            list_market_analysis,
            "Analyses of the symbols you watch, oldest first",
            response=Page[AnalysisView],
            query=AnalysisQuery,
        ),
    ]


def _analysis_view(row: AnalysisRow) -> AnalysisView:
    fields = asdict(row)
    return AnalysisView.model_validate(
        {
            **fields,
            "ema_value": shortened(row.ema_value),
            "distance_from_ema": shortened(row.distance_from_ema),
        }
    )
