"""Candles: for all users, and for the services that need history."""

from datetime import datetime
from typing import Annotated, Literal, cast

from pydantic import Field

from services.trading.bybit_api import VENUE
from services.trading.listed_series import Listing
from services.trading.queries import candles
from services.trading.routes.listed_series import check_series
from shared.chassis.errors import ExchangeUnreachable, InvalidInput, NotFound
from shared.chassis.http.app import Call
from shared.chassis.http.paging import ListQuery, Page, decode_sorted, encode_sorted, invalid_cursor, page_of
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.listing import Slice
from shared.chassis.postgres import Database
from shared.contracts.types import Amount, Instant, QueryModel, ViewModel, from_ms, to_ms
from shared.market.fields import Interval, Symbol
from shared.strategy.bars import Bar

LATEST_MS = 253_402_300_799_999  # the end of year 9999

MAX_GENERATION = 2**31 - 1
# A generation of the series; queries without one get the newest.
Generation = Annotated[int, Field(ge=1, le=MAX_GENERATION)]


class CandleView(ViewModel):
    open_time: Instant
    open: Amount
    high: Amount
    low: Amount
    close: Amount
    volume: Amount


class CandlesQuery(ListQuery):
    orders = candles.ORDERS

    symbol: Symbol
    interval: Interval
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None
    generation: Generation | None = None
    sort: Literal["open_time", "-open_time"] = "-open_time"

    def parse_cursor(self) -> tuple[int | None, Slice]:
        """Return the generation, which is the same for all pages of a list, and the bars to read.

        Raises InvalidInput.
        """
        generation, after = self.generation, decode_sorted(self.sort, self.cursor, int, datetime)
        if after is not None:
            generation, after = cast("int", after[0]), after[1:]
            if not 1 <= generation <= MAX_GENERATION:
                raise invalid_cursor()
        return generation, Slice(self.order, self.limit + 1, after, self.sort.startswith("-"))

    def cursor_after(self, generation: int, bar: Bar) -> str:
        return encode_sorted(self.sort, generation, from_ms(bar.open_time_ms))


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
        "List confirmed candles of a series that is traded or watched, newest first",
        errors=(ExchangeUnreachable,),
    )
    async def list_candles(self, call: Call, query: CandlesQuery) -> Page[CandleView]:
        generation, wanted = query.parse_cursor()
        async with self._database.tenant(call.principal.user_id) as connection:
            series = await candles.find_series(connection, VENUE, query.symbol, query.interval, generation)
            bars = []
            if series is not None:
                bars = await candles.list_page(connection, series.series_id, query.from_, query.to, wanted)
        if series is None:
            await check_series(self._listing, query.symbol, query.interval)
            return Page(items=[])
        return page_of(bars, query.limit, _view, lambda bar: query.cursor_after(series.generation, bar))

    @endpoint(
        "GET",
        "/internal/v1/candles",
        "List the last candles up to a time, for other services",
        errors=(NotFound, ExchangeUnreachable),
        callers=frozenset(("analytics", "notifications")),
    )
    async def list_history(self, call: Call, query: HistoryQuery) -> HistoryView:
        async with self._database.untenanted() as connection:
            series = await candles.find_series(connection, VENUE, query.symbol, query.interval, query.generation)
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


def _view(bar: Bar) -> CandleView:
    return CandleView(
        open_time=from_ms(bar.open_time_ms),
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=bar.volume,
    )
