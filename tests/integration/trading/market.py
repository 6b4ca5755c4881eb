"""A market for trading's tests: bars stored and published as the feed does it, and an exchange with a clock."""

from collections.abc import Sequence
from datetime import datetime

from aiohttp import web

from services.trading.bybit_api import VENUE
from services.trading.feed import queries
from services.trading.feed.queries import StoredCandle
from services.trading.queries.candles import upsert_instrument
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed, CandleOpened
from shared.contracts.types import from_ms
from shared.strategy.bars import Bar
from tests.unit.trading.scenes import INSTRUMENT, INTERVAL, START_MS, STEP_MS, wavy_bars

BEFORE = from_ms(START_MS - 1)


class Exchange:
    """Bybit's clock and its list of contracts, over HTTP."""

    def __init__(self) -> None:
        self.now_ms = START_MS - 1
        self.symbols = {"BTCUSDT", "ETHUSDT", "XRPUSDT"}
        self.url = ""
        self.steps = {"tickSize": "0.01", "qtyStep": "0.001", "minOrderQty": "0.001", "minNotionalValue": "5"}
        self.klines: Sequence[Bar] = ()  # the bars that REST serves
        self.is_down = False
        self.other_intervals: set[str] = set()  # further intervals for which it has bars

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v5/market/time", self._time)
        app.router.add_get("/v5/market/instruments-info", self._instruments)
        app.router.add_get("/v5/market/kline", self._kline)
        return app

    async def _time(self, _: web.Request) -> web.Response:
        return self._answer({"timeSecond": str(self.now_ms // 1000), "timeNano": f"{self.now_ms}000000"})

    async def _instruments(self, request: web.Request) -> web.Response:
        symbol = request.query["symbol"]
        known = {"symbol": symbol, "priceFilter": self.steps, "lotSizeFilter": self.steps}
        return self._answer({"list": [known] if symbol in self.symbols else []})

    async def _kline(self, request: web.Request) -> web.Response:
        first, last = int(request.query["start"]), int(request.query["end"])
        shown = [bar for bar in self.klines if first <= bar.open_time_ms <= last]
        if request.query["interval"] in self.other_intervals:
            shown = wavy_bars(1)
        return self._answer({"list": [[*map(str, bar), "0"] for bar in reversed(shown)]})

    def _answer(self, result: dict[str, object]) -> web.Response:
        if self.is_down:
            raise web.HTTPServiceUnavailable
        body = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": self.now_ms}
        return web.json_response(body)


class Market:
    """One series, closed bar by bar."""

    def __init__(self, database: Database, producer: Producer, symbol: str, bars: Sequence[Bar]) -> None:
        self._database = database
        self._producer = producer
        self._symbol = symbol
        self._bars = bars
        self._series_id = 0
        self.closed = 0  # bars closed so far

    @property
    def opened_ms(self) -> int:
        """The open time of the bar that is open."""
        return self._bars[self.closed].open_time_ms

    @property
    def last_closed_ms(self) -> int:
        """The open time of the last bar that is closed."""
        return self._bars[self.closed - 1].open_time_ms

    async def begin(self) -> None:
        """Store the series and its instrument, and open the first bar."""
        async with self._database.tenants(()) as connection:
            await upsert_instrument(connection, VENUE, self._symbol, INSTRUMENT)
            *_, series = await queries.get_or_create_generations(connection, self._symbol, INTERVAL)
        self._series_id = series.series_id
        await self._open(self._bars[0])

    async def close_bars(self, count: int = 1, *, announce: bool = True) -> int:
        """Close `count` bars, opening the next one after each; returns the last closed bar's open time in ms.
        Without `announce` the bars are stored, but their events are lost."""
        for _ in range(count):
            bar = self._bars[self.closed]
            async with self._database.tenants(()) as connection:
                candle = StoredCandle(bar, self._previous(bar))
                await queries.insert_candles(connection, self._series_id, [candle], "STREAM")
            if announce:
                await self._producer.publish([self._closed(bar)])
            self.closed += 1
            if self.closed < len(self._bars):
                await self._open(self._bars[self.closed], announce=announce)
        return self._bars[self.closed - 1].open_time_ms

    async def store_next(self) -> list[CandleClosed | CandleOpened]:
        """Store the close of the next bar and the open after it; returns their events, which are not published."""
        bar, following = self._bars[self.closed : self.closed + 2]
        async with self._database.tenants(()) as connection:
            candle = StoredCandle(bar, self._previous(bar))
            await queries.insert_candles(connection, self._series_id, [candle], "STREAM")
            await queries.mark_opened(connection, self._series_id, following)
        self.closed += 1
        return [self._closed(bar), self._opened(following)]

    async def _open(self, bar: Bar, *, announce: bool = True) -> None:
        async with self._database.tenants(()) as connection:
            await queries.mark_opened(connection, self._series_id, bar)
        if announce:
            await self._producer.publish([self._opened(bar)])

    def _previous(self, bar: Bar) -> datetime | None:
        index = (bar.open_time_ms - self._bars[0].open_time_ms) // STEP_MS
        return from_ms(self._bars[index - 1].open_time_ms) if index else None

    def _opened(self, bar: Bar) -> CandleOpened:
        return CandleOpened(
            venue=VENUE,
            symbol=self._symbol,
            interval=INTERVAL,
            generation=1,
            open_time=from_ms(bar.open_time_ms),
            previous_open_time=self._previous(bar),
            open=bar.open,
            venue_time=from_ms(bar.open_time_ms),
        )

    def _closed(self, bar: Bar) -> CandleClosed:
        fields = {**self._opened(bar).model_dump(), "venue_time": from_ms(bar.open_time_ms + STEP_MS)}
        return CandleClosed(**fields, high=bar.high, low=bar.low, close=bar.close, volume=bar.volume)
