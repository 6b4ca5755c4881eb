"""Candles: for all users, and for the services that need history."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from services.trading.bybit_api import VENUE
from services.trading.listed_series import Listing
from services.trading.queries import candles
from services.trading.queries.candles import SeriesRow
from services.trading.routes.fields import Symbol
from services.trading.routes.listed_series import check_series
from shared.chassis.errors import InvalidInput, NotFound, Unavailable
from shared.chassis.http.app import Call
from shared.chassis.http.paging import Page, PageQuery, decode_sorted, encode_sorted, invalid_cursor, page_of
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import Amount, Instant, QueryModel, ViewModel, from_ms, to_ms
from shared.market.fields import Interval
from shared.strategy.bars import Bar

LATEST_MS = 253_402_300_799_999  # the end of year 9999

# A generation of the series; queries without one get the newest.
Generation = Annotated[int, Field(ge=1, le=2**31 - 1)]


class CandleView(ViewModel):
    open_time: Instant
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Amount


class CandlesQuery(PageQuery):
    symbol: Symbol
    interval: Interval
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None
    generation: Generation | None = None
    sort: Literal["open_time", "-open_time"] = "open_time"


class HistoryQuery(QueryModel):
    symbol: Symbol
    interval: Interval
    to_ms: int = Field(ge=0, le=LATEST_MS)
    limit: int = Field(default=1_000, ge=1, le=5_000)
    generation: Generation | None = None


class HistoryView(ViewModel):
    """Each item is open time in ms, open, high, low, close, volume; ascending."""

    items: list[tuple[int, Amount, Amount, Amount, Amount, Amount]]
    anchor_ms: int | None


class CandleRoutes(Routes):
    def __init__(self, database: Database, listing: Listing) -> None:
        self._database = database
        self._listing = listing

    @endpoint(
        "GET",
        "/v1/candles",
        "List confirmed candles of a series that is traded or watched",
        errors=(Unavailable,),
    )
    async def list_candles(self, call: Call, query: CandlesQuery) -> Page[CandleView]:
        generation, beyond = _position(query)
        async with self._database.tenant(call.principal.user_id) as connection:
            series = await candles.get_series(connection, VENUE, query.symbol, query.interval, generation)
            bars = await _page(connection, series, query, beyond) if series is not None else []
        if series is None:
            await check_series(self._listing, query.symbol, query.interval)
            return Page(items=[])
        return page_of(
            [_view(bar) for bar in bars],
            query.limit,
            lambda last: encode_sorted(query.sort, series.generation, to_ms(last.open_time)),
        )

    @endpoint(
        "GET",
        "/internal/v1/candles",
        "List the last candles up to a time, for other services",
        errors=(NotFound, Unavailable),
        callers=frozenset(("analytics", "notifications")),
    )
    async def list_history(self, call: Call, query: HistoryQuery) -> HistoryView:
        async with self._database.untenanted() as connection:
            series = await candles.get_series(connection, VENUE, query.symbol, query.interval, query.generation)
            bars = []
            if series is not None:
                moment = from_ms(query.to_ms)
                bars = await candles.list_bars_until(connection, series.series_id, moment, query.limit)
        if series is None or series.anchor is None:
            try:
                await check_series(self._listing, query.symbol, query.interval)
            except InvalidInput as error:
                raise NotFound("the exchange does not have this series", **error.extra) from error
            return HistoryView(items=[], anchor_ms=None)
        return HistoryView(items=[tuple(bar) for bar in bars], anchor_ms=to_ms(series.anchor))


async def _page(
    connection: Connection, series: SeriesRow, query: CandlesQuery, beyond: datetime | None
) -> list[Bar]:
    return await candles.list_page(
        connection,
        series.series_id,
        query.from_,
        query.to,
        beyond,
        newest_first=query.sort == "-open_time",
        limit=query.limit + 1,
    )


def _position(query: CandlesQuery) -> tuple[int | None, datetime | None]:
    """Return the generation, which is the same for all pages of a list, and the bar after which the page begins."""
    position = decode_sorted(query.sort, query.cursor, int, int)
    if position is None:
        return query.generation, None
    try:
        return int(position[0]), from_ms(int(position[1]))
    except OverflowError as error:
        raise invalid_cursor() from error


def _view(bar: Bar) -> CandleView:
    return CandleView(
        open_time=from_ms(bar.open_time_ms),
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
    )
