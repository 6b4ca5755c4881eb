"""One series: from what stream and REST tell, in whatever order, to each bar once, ascending, in a chain."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter

from services.trading.bybit_api import VENUE, Kline, MarketApi, UnknownSymbol, VenueUnavailable
from services.trading.bybit_stream_api import KlineUpdate
from services.trading.feed import ledger
from services.trading.feed.ledger import StoredCandle, StoredSeries
from services.trading.feed.settled_bars import SettledBars
from shared.chassis.pausing import pause
from shared.chassis.points import point
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.producer import Producer
from shared.contracts.market import CandleClosed, CandleOpened
from shared.strategy.bars import INTERVAL_MS

HISTORY_BARS = 3_000
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 10.0
UNKNOWN_AGAIN_S = 30.0
QUIET_S = 30.0  # so long without a word from the stream, and REST is asked whether it has missed a bar
SILENT = timedelta(seconds=10)  # a bar missed for so long: the stream is renewed
MOST_AT_ONCE = 1_000
MOST_WAITING = 5_000

BARS_CHANGED = Counter("feed_bars_changed_total", "Confirmed bars that came again with other values", ["symbol"])
BARS_HEALED = Counter("feed_bars_healed_total", "Bars the stream skipped, fetched by REST", ["symbol"])

log = structlog.get_logger()


class SeriesFeed:
    """Works its inbox one after the other; REST is asked only when the stream has a hole, is quiet or was away."""

    def __init__(
        self,
        symbol: str,
        interval: str,
        database: Database,
        producer: Producer,
        api: MarketApi,
        renew_stream: Callable[[], None],
        quiet_s: float = QUIET_S,
    ) -> None:
        self._symbol = symbol
        self._interval = interval
        self._step = timedelta(milliseconds=INTERVAL_MS[interval])
        self._database = database
        self._producer = producer
        self._api = api
        self._settled = SettledBars(api, symbol, interval)
        self._renew_stream = renew_stream
        self._quiet_s = quiet_s
        self._inbox: asyncio.Queue[KlineUpdate | None] = asyncio.Queue()
        self._row: StoredSeries | None = None
        self._last: Kline | None = None  # the last confirmed bar
        self._opened: Kline | None = None  # the bar announced as open after it
        self.ready = asyncio.Event()  # history is stored, the instrument is known: the stream may be subscribed

    def tell(self, update: KlineUpdate) -> None:
        if self._inbox.qsize() >= MOST_WAITING:
            while not self._inbox.empty():
                self._inbox.get_nowait()
            self.reconcile()  # REST has what is dropped here
        self._inbox.put_nowait(update)

    def reconcile(self) -> None:
        """The stream is up anew: what happened meanwhile is asked for."""
        self._inbox.put_nowait(None)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. Whatever happens to this series, the others go on."""
        pause_s = RETRY_FIRST_S
        while not stop.is_set():
            try:
                await self._prepare()
                pause_s = RETRY_FIRST_S
                self.ready.set()
                await self._work(stop)
            except UnknownSymbol:
                log.error("unknown_symbol", symbol=self._symbol)
                self.ready.clear()
                await pause(stop, UNKNOWN_AGAIN_S)
            except (*INFRASTRUCTURE_FAULTS, KafkaError, VenueUnavailable) as error:
                log.warning("series_retries", symbol=self._symbol, interval=self._interval, error=repr(error))
                self.reconcile()
                await pause(stop, pause_s)
                pause_s = min(pause_s * 2, RETRY_LONGEST_S)

    async def _prepare(self) -> None:
        """Instrument, series row, history; and what was stored but perhaps never said."""
        contract = await self._api.contract(self._symbol)
        async with self._database.tenants(()) as connection:
            await ledger.upsert_instrument(connection, self._symbol, contract)
            self._row = await ledger.get_or_create_series(connection, self._symbol, self._interval)
            self._last = await ledger.find_last_candle(connection, self._row.series_id)
            unannounced = await ledger.list_unannounced(connection, self._row.series_id)
        self._opened = None
        if self._last is None:
            await self._store_history()
        if unannounced:
            log.info("bars_said_again", symbol=self._symbol, interval=self._interval, count=len(unannounced))
            await self._announce(unannounced, await self._api.server_time())

    async def _store_history(self) -> None:
        """Bars from before the series went live: stored for the indicators, never announced."""
        bars = await self._settled.latest(HISTORY_BARS)
        if bars:
            async with self._database.tenants(()) as connection:
                await ledger.insert_candles(connection, self._series_id, self._chained(bars), "HISTORY")
            self._last = bars[-1]

    async def _work(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                receiving = asyncio.create_task(self._inbox.get())
                both = {receiving, stopping}
                await asyncio.wait(both, timeout=self._quiet_s, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    await self._take(receiving.result())
                    continue
                receiving.cancel()
                if not stop.is_set():
                    await self._ask_in_silence()
        finally:
            stopping.cancel()

    async def _take(self, update: KlineUpdate | None) -> None:
        if update is None:
            await self._catch_up(None)
            return
        kline = update.kline
        if self._last is not None and kline.open_time <= self._last.open_time:
            if update.confirmed and kline.open_time == self._last.open_time:
                self._compare(kline, self._last)
            return
        if self._skipped(kline.open_time):
            await self._catch_up(kline.open_time)
        if update.confirmed:
            await self._close([kline], update.venue_time)
        elif self._opened is None or self._opened.open_time < kline.open_time:
            await self._open(kline, update.venue_time)

    def _skipped(self, open_time: datetime) -> bool:
        """Whether there may have been a bar before this one that was not confirmed."""
        if self._opened is not None and self._opened.open_time == open_time:
            return False
        return self._last is None or open_time > self._last.open_time + self._step

    async def _ask_in_silence(self) -> None:
        """No word from the stream: perhaps no trade, perhaps it is dead and does not know."""
        before = self._last
        if before is None or await self._api.server_time() < before.open_time + 2 * self._step:
            return
        venue_time = await self._catch_up(None)
        if (
            self._last is not None
            and self._last != before
            and venue_time > self._last.open_time + self._step + SILENT
        ):
            log.warning("stream_silent", symbol=self._symbol, interval=self._interval)
            self._renew_stream()

    async def _catch_up(self, until: datetime | None) -> datetime:
        """Ask REST for what is between the last confirmed bar and `until` (None: now); the exchange's time."""
        looked_to = self._last.open_time if self._last else None
        while True:
            page = await self._settled.after(looked_to, until)
            if page.closed:
                BARS_HEALED.labels(self._symbol).inc(len(page.closed))
                await self._close(page.closed, page.venue_time)
            if page.is_last:
                break
            looked_to = page.end
        if until is None and page.current is not None and self._is_new(page.current):
            await self._open(page.current, page.venue_time)
        return page.venue_time

    def _is_new(self, kline: Kline) -> bool:
        last, opened = self._last, self._opened
        return (last is None or kline.open_time > last.open_time) and (
            opened is None or kline.open_time > opened.open_time
        )

    async def _close(self, bars: Sequence[Kline], venue_time: datetime) -> None:
        """Store, then say; a death in between is made good at the next start."""
        async with self._database.tenants(()) as connection:
            given = self._chained(bars)
            stored = await ledger.insert_candles(connection, self._series_id, given, "STREAM")
        for candle, of_venue in zip(stored, bars, strict=True):
            self._compare(of_venue, candle.kline)
        await self._announce(stored, venue_time)
        self._last = stored[-1].kline

    async def _announce(self, candles: Sequence[StoredCandle], venue_time: datetime) -> None:
        for begin in range(0, len(candles), MOST_AT_ONCE):
            batch = candles[begin : begin + MOST_AT_ONCE]
            events: list[CandleOpened | CandleClosed] = []
            for candle in batch:
                if self._opened is None or self._opened.open_time != candle.kline.open_time:
                    events.append(self._opened_event(candle.kline, candle.previous_open_time, venue_time))
                elif self._opened.open != candle.kline.open:
                    self._alarm(candle.kline, self._opened)
                events.append(self._closed_event(candle, venue_time))
            point("feed.before_candle")
            await self._producer.publish(events)
            async with self._database.tenants(()) as connection:
                open_times = [candle.kline.open_time for candle in batch]
                await ledger.mark_announced(connection, self._series_id, open_times)
            point("feed.after_candle")

    async def _open(self, kline: Kline, venue_time: datetime) -> None:
        previous = self._last.open_time if self._last else None
        async with self._database.tenants(()) as connection:
            await ledger.mark_opened(connection, self._series_id, kline)
        await self._producer.publish([self._opened_event(kline, previous, venue_time)])
        self._opened = kline

    @property
    def _series_id(self) -> int:
        assert self._row is not None, "prepared"
        return self._row.series_id

    def _chained(self, bars: Sequence[Kline]) -> list[StoredCandle]:
        before = [self._last.open_time if self._last else None, *(bar.open_time for bar in bars)]
        return [StoredCandle(bar, previous) for bar, previous in zip(bars, before, strict=False)]

    def _opened_event(self, kline: Kline, previous: datetime | None, venue_time: datetime) -> CandleOpened:
        assert self._row is not None, "prepared"
        return CandleOpened(
            venue=VENUE,
            symbol=self._symbol,
            interval=self._interval,
            generation=self._row.generation,
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

    def _compare(self, told: Kline, known: Kline) -> None:
        """A confirmed bar that comes again is the same bar; what is stored counts."""
        if told != known:
            self._alarm(told, known)

    def _alarm(self, told: Kline, known: Kline) -> None:
        BARS_CHANGED.labels(self._symbol).inc()
        log.error("confirmed_bar_changed", symbol=self._symbol, told=str(told), known=str(known))
