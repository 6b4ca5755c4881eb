"""One series: from what stream and REST tell, in whatever order, to each bar once, ascending, in a chain."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from services.trading.bybit_api import VENUE, Kline, KlineUpdate, MarketApi, UnknownSymbol, VenueUnavailable
from services.trading.feed import ledger
from services.trading.feed.ledger import StoredCandle, StoredSeries
from shared.chassis.pausing import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.producer import Producer
from shared.contracts.market import CandleClosed, CandleOpened
from shared.contracts.types import to_ms
from shared.strategy.bars import INTERVAL_MS

HISTORY_BARS = 3_000
SETTLING = timedelta(seconds=2)  # how long after its end a bar by REST may still change
RETRY_S = 0.5
MOST_AT_ONCE = 1_000

BARS_CHANGED = Counter("feed_bars_changed_total", "Confirmed bars that came again with other values", ["symbol"])
BARS_HEALED = Counter("feed_bars_healed_total", "Bars the stream skipped, fetched by REST", ["symbol"])

log = structlog.get_logger()


class SeriesFeed:
    """Works its inbox one after the other; REST is asked only when the stream has a hole or was away."""

    def __init__(self, symbol: str, interval: str, database: Database, producer: Producer, api: MarketApi) -> None:
        self._symbol = symbol
        self._interval = interval
        self._step = timedelta(milliseconds=INTERVAL_MS[interval])
        self._database = database
        self._producer = producer
        self._api = api
        self._inbox: asyncio.Queue[KlineUpdate | None] = asyncio.Queue()
        self._series: StoredSeries | None = None
        self._last: Kline | None = None  # the last confirmed bar
        self._opened: datetime | None = None  # the bar announced as open after it
        self.ready = asyncio.Event()  # history is stored, the instrument is known: the stream may be subscribed

    def tell(self, update: KlineUpdate) -> None:
        self._inbox.put_nowait(update)

    def reconcile(self) -> None:
        """The stream is up anew: what happened meanwhile is asked for."""
        self._inbox.put_nowait(None)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; a symbol the exchange does not know ends here and disturbs nobody else."""
        while not stop.is_set():
            try:
                await self._prepare()
                self.ready.set()
                await self._work(stop)
            except UnknownSymbol:
                log.error("unknown_symbol", symbol=self._symbol)
                return
            except (*INFRASTRUCTURE_FAULTS, KafkaError, VenueUnavailable) as error:
                log.warning("series_retries", symbol=self._symbol, interval=self._interval, error=repr(error))
                self.reconcile()
                await pause(stop, RETRY_S)

    async def _prepare(self) -> None:
        """Instrument, series row, history; and what was stored but perhaps never said."""
        contract = await self._api.contract(self._symbol)
        async with self._database.tenants(()) as connection:
            await ledger.upsert_instrument(connection, self._symbol, contract)
            self._series = await ledger.get_or_create_series(connection, self._symbol, self._interval)
            self._last = await ledger.find_last_candle(connection, self._series.series_id)
            unannounced = await ledger.list_unannounced(connection, self._series.series_id)
        self._opened = None
        if self._last is None:
            await self._store_history()
        await self._announce(unannounced, await self._api.server_time())

    async def _store_history(self) -> None:
        """Bars from before the series went live: stored for the indicators, never announced."""
        series = self._series
        assert series is not None, "prepared"
        bars: list[Kline] = []
        window: dict[str, int] = {}
        while len(bars) < HISTORY_BARS:
            page = await self._api.klines(self._symbol, self._interval, **window)
            bars[:0] = page
            if len(page) < MOST_AT_ONCE:
                break
            window = {"end": to_ms(page[0].open_time) - 1}
        closed = await self._closed_of(bars)
        if closed:
            async with self._database.tenants(()) as connection:
                await ledger.insert_candles(connection, series.series_id, self._chained(closed), "HISTORY")
            self._last = closed[-1]

    async def _work(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                receiving = asyncio.create_task(self._inbox.get())
                await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not receiving.done():
                    receiving.cancel()
                    return
                await self._take([receiving.result(), *self._waiting()])
        finally:
            stopping.cancel()

    def _waiting(self) -> list[KlineUpdate | None]:
        return [self._inbox.get_nowait() for _ in range(min(self._inbox.qsize(), MOST_AT_ONCE))]

    async def _take(self, updates: Sequence[KlineUpdate | None]) -> None:
        for update in updates:
            if update is None:
                await self._catch_up(None)
            else:
                await self._take_update(update)

    async def _take_update(self, update: KlineUpdate) -> None:
        kline = update.kline
        if self._last is not None and kline.open_time <= self._last.open_time:
            self._compare(update)
            return
        if self._opened != kline.open_time and self._skipped(kline.open_time):
            await self._catch_up(kline.open_time)
        if update.confirmed:
            await self._close([kline], update.venue_time)
        elif self._opened != kline.open_time:
            await self._open(kline, update.venue_time)

    def _skipped(self, open_time: datetime) -> bool:
        """Whether there should have been a bar before this one that was not confirmed."""
        if self._last is None:
            return self._opened is not None and self._opened < open_time
        return open_time > self._last.open_time + self._step

    async def _catch_up(self, until: datetime | None) -> None:
        """Ask REST for what is between the last confirmed bar and `until` (None: now)."""
        while True:
            window = {"start": to_ms(self._last.open_time) + 1} if self._last else {"start": 0}
            if until is not None:
                window["end"] = to_ms(until) - 1
            bars = await self._api.klines(self._symbol, self._interval, **window)
            closed = bars if until is not None else await self._closed_of(bars)
            now = await self._api.server_time()
            if closed:
                BARS_HEALED.labels(self._symbol).inc(len(closed))
                await self._close(closed, now)
            if len(bars) < MOST_AT_ONCE:
                break
        if until is None and bars and (not closed or bars[-1].open_time > closed[-1].open_time):
            await self._open(bars[-1], now)

    async def _closed_of(self, bars: list[Kline]) -> list[Kline]:
        """Those of them that will not change: all but the last, and it too once its time is well over."""
        if not bars:
            return []
        last = bars[-1]
        ended = last.open_time + self._step
        now = await self._api.server_time()
        if now < ended:
            return bars[:-1]
        if now < ended + SETTLING:
            await asyncio.sleep(RETRY_S)
            again = await self._api.klines(self._symbol, self._interval, start=to_ms(last.open_time))
            if not again or again[0] != last:
                return bars[:-1]
        return bars

    async def _close(self, bars: Sequence[Kline], venue_time: datetime) -> None:
        """Store, then say; a death in between is made good at the next start."""
        assert self._series is not None, "prepared"
        candles = self._chained(bars)
        async with self._database.tenants(()) as connection:
            await ledger.insert_candles(connection, self._series.series_id, candles, "STREAM")
        await self._announce(candles, venue_time)
        self._last = bars[-1]

    async def _announce(self, candles: Sequence[StoredCandle], venue_time: datetime) -> None:
        assert self._series is not None, "prepared"
        for begin in range(0, len(candles), MOST_AT_ONCE):
            batch = candles[begin : begin + MOST_AT_ONCE]
            events: list[CandleOpened | CandleClosed] = []
            for candle in batch:
                if self._opened != candle.kline.open_time:
                    events.append(self._opened_event(candle.kline, candle.previous_open_time, venue_time))
                events.append(self._closed_event(candle, venue_time))
            await self._producer.publish(events)
            async with self._database.tenants(()) as connection:
                open_times = [candle.kline.open_time for candle in batch]
                await ledger.mark_announced(connection, self._series.series_id, open_times)

    async def _open(self, kline: Kline, venue_time: datetime) -> None:
        assert self._series is not None, "prepared"
        previous = self._last.open_time if self._last else None
        async with self._database.tenants(()) as connection:
            await ledger.mark_opened(connection, self._series.series_id, kline)
        await self._producer.publish([self._opened_event(kline, previous, venue_time)])
        self._opened = kline.open_time

    def _chained(self, bars: Sequence[Kline]) -> list[StoredCandle]:
        before = [self._last.open_time if self._last else None, *(bar.open_time for bar in bars)]
        return [StoredCandle(bar, previous) for bar, previous in zip(bars, before, strict=False)]

    def _opened_event(self, kline: Kline, previous: datetime | None, venue_time: datetime) -> CandleOpened:
        assert self._series is not None, "prepared"
        return CandleOpened(
            venue=VENUE,
            symbol=self._symbol,
            interval=self._interval,
            generation=self._series.generation,
            open_time=kline.open_time,
            previous_open_time=previous,
            open=kline.open,
            venue_time=venue_time,
        )

    def _closed_event(self, candle: StoredCandle, venue_time: datetime) -> CandleClosed:
        kline = candle.kline
        opened = self._opened_event(kline, candle.previous_open_time, venue_time)
        return CandleClosed(
            **opened.model_dump(), high=kline.high, low=kline.low, close=kline.close, volume=kline.volume
        )

    def _compare(self, update: KlineUpdate) -> None:
        """A confirmed bar that comes again is the same bar; if not, somebody must look."""
        last = self._last
        if update.confirmed and last and update.kline.open_time == last.open_time and update.kline != last:
            BARS_CHANGED.labels(self._symbol).inc()
            log.error("confirmed_bar_changed", symbol=self._symbol, open_time=str(last.open_time))
