"""One series: from what stream and REST tell, in whatever order, to each bar once, ascending, in a chain."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from services.trading.bybit_api import Kline, MarketApi, UnknownSymbol, VenueUnavailable
from services.trading.bybit_stream_api import KlineUpdate
from services.trading.feed.candle_events import closed_event, opened_event
from services.trading.feed.demand import SeriesDemand
from services.trading.feed.generations import Generations
from services.trading.feed.queries import StoredCandle, StoredSeries
from services.trading.feed.settled_bars import SettledBars
from shared.chassis.crash_points import point
from shared.chassis.events.producer import Producer
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.market import CandleClosed, CandleOpened
from shared.strategy.bars import INTERVAL_MS

RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 10.0
UNKNOWN_FIRST_S = 30.0
UNKNOWN_LONGEST_S = 3600.0
QUIET_S = 30.0  # so long without a word from the stream, and REST is asked whether it has missed a bar
SILENT = timedelta(seconds=10)  # a bar missed for so long: the stream is renewed
MOST_AT_ONCE = 1_000
MOST_WAITING = 5_000
NO_DEMAND = SeriesDemand()

BARS_CHANGED = Counter("feed_bars_changed_total", "Confirmed bars that came again with other values", ["symbol"])
BARS_WIDENED = Counter("feed_bars_widened_total", "Bars made to enclose their open and close", ["symbol"])
SERIES_UNKNOWN = Gauge("feed_series_unknown", "Series that are wanted of symbols the exchange does not list")
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
        wish: SeriesDemand = NO_DEMAND,
        unknown_first_s: float = UNKNOWN_FIRST_S,
    ) -> None:
        self._symbol = symbol
        self._interval = interval
        self._step = timedelta(milliseconds=INTERVAL_MS[interval])
        self._producer = producer
        self._api = api
        self._settled = SettledBars(api, symbol, interval)
        self._generations = Generations(symbol, interval, database, self._settled)
        self._wish = wish
        self._loaded_for: SeriesDemand | None = None
        self._renew_stream = renew_stream
        self._quiet_s = quiet_s
        self._unknown_first_s = unknown_first_s
        self.unknown = False  # the exchange does not list the symbol
        self._inbox: asyncio.Queue[KlineUpdate | SeriesDemand | None] = asyncio.Queue()
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

    def want(self, wish: SeriesDemand) -> None:
        """What is wanted of it now: more history, or other generations."""
        if wish != self._wish:
            self._wish = wish
            self._inbox.put_nowait(wish)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. Whatever happens to this series, the others go on."""
        try:
            await self._run(stop)
        finally:
            self._set_unknown(False)

    async def _run(self, stop: asyncio.Event) -> None:
        pause_s, unknown_pause_s = RETRY_FIRST_S, self._unknown_first_s
        while not stop.is_set():
            try:
                await self._prepare()
                self._set_unknown(False)
                pause_s, unknown_pause_s = RETRY_FIRST_S, self._unknown_first_s
                self.ready.set()
                await self._work(stop)
            except UnknownSymbol:
                self._set_unknown(True)
                self.ready.clear()
                await pause(stop, unknown_pause_s)
                unknown_pause_s = min(unknown_pause_s * 2, UNKNOWN_LONGEST_S)
            except (*INFRASTRUCTURE_FAULTS, KafkaError, VenueUnavailable) as error:
                log.warning("series_retries", symbol=self._symbol, interval=self._interval, error=repr(error))
                self.reconcile()
                await pause(stop, pause_s)
                pause_s = min(pause_s * 2, RETRY_LONGEST_S)

    def _set_unknown(self, unknown: bool) -> None:
        """Logged when it changes, and not at each try."""
        if unknown == self.unknown:
            return
        self.unknown = unknown
        SERIES_UNKNOWN.inc(1 if unknown else -1)
        if unknown:
            log.error("unknown_symbol", symbol=self._symbol, interval=self._interval)

    async def _prepare(self) -> None:
        """Instrument, generations, history; and what was stored but perhaps never said."""
        contract = await self._api.contract(self._symbol)
        await self._generations.note_contract(contract)
        self._opened = None
        await self._load()

    async def _load(self) -> None:
        """Have every generation that is wanted, and one that begins early enough."""
        wish, known = self._wish, {series.generation for series in self._generations.live}
        self._last = await self._generations.load(wish)
        if await self._generations.deepen(wish.history_bars, self._last):
            self._last = await self._generations.load(wish)
        unsaid = {series: candles for series, candles in (await self._generations.unannounced()).items() if candles}
        if unsaid:
            count = sum(map(len, unsaid.values()))
            log.info("bars_said_again", symbol=self._symbol, interval=self._interval, count=count)
            await self._announce(unsaid, await self._api.server_time())
        if self._opened is not None and self._is_ahead(self._opened):
            added = [series for series in self._generations.live if series.generation not in known]
            await self._say_opened(added, self._opened, await self._api.server_time())
        self._loaded_for = wish

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

    async def _take(self, update: KlineUpdate | SeriesDemand | None) -> None:
        if not isinstance(update, KlineUpdate):
            if self._loaded_for != self._wish:
                await self._load()
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
        opened = self._opened
        return self._is_ahead(kline) and (opened is None or kline.open_time > opened.open_time)

    def _is_ahead(self, kline: Kline) -> bool:
        return self._last is None or kline.open_time > self._last.open_time

    async def _close(self, bars: Sequence[Kline], venue_time: datetime) -> None:
        """Store, then say; a death in between is made good at the next start."""
        stored = await self._generations.store(bars, self._last)
        self._report_widened(bars)
        newest = stored[self._generations.newest]
        for candle, of_venue in zip(newest, bars, strict=True):
            self._compare(of_venue, candle.kline)
        await self._announce(stored, venue_time)
        self._last = newest[-1].kline

    async def _announce(self, stored: Mapping[StoredSeries, Sequence[StoredCandle]], venue_time: datetime) -> None:
        for series, candles in stored.items():
            for begin in range(0, len(candles), MOST_AT_ONCE):
                batch = candles[begin : begin + MOST_AT_ONCE]
                point("feed.before_candle")
                await self._producer.publish(self._events(series, batch, venue_time))
                await self._generations.mark_announced(series, [candle.kline.open_time for candle in batch])
                point("feed.after_candle")

    def _events(
        self, series: StoredSeries, candles: Sequence[StoredCandle], venue_time: datetime
    ) -> list[CandleOpened | CandleClosed]:
        events: list[CandleOpened | CandleClosed] = []
        for candle in candles:
            if self._opened is None or self._opened.open_time != candle.kline.open_time:
                events.append(opened_event(series, candle.kline, candle.previous_open_time, venue_time))
            elif self._opened.open != candle.kline.open:
                self._alarm(candle.kline, self._opened)
            events.append(closed_event(series, candle, venue_time))
        return events

    async def _open(self, kline: Kline, venue_time: datetime) -> None:
        await self._generations.mark_opened(kline)
        await self._say_opened(self._generations.live, kline, venue_time)
        self._opened = kline

    async def _say_opened(self, of: Sequence[StoredSeries], kline: Kline, venue_time: datetime) -> None:
        previous = self._last.open_time if self._last else None
        await self._producer.publish([opened_event(series, kline, previous, venue_time) for series in of])

    def _report_widened(self, bars: Sequence[Kline]) -> None:
        for bar in bars:
            if bar.widened:
                BARS_WIDENED.labels(self._symbol).inc()
                log.warning("bar_widened", symbol=self._symbol, interval=self._interval, bar=str(bar))

    def _compare(self, told: Kline, known: Kline) -> None:
        """A confirmed bar that comes again is the same bar; what is stored counts."""
        if told != known:
            self._alarm(told, known)

    def _alarm(self, told: Kline, known: Kline) -> None:
        BARS_CHANGED.labels(self._symbol).inc()
        log.error("confirmed_bar_changed", symbol=self._symbol, told=str(told), known=str(known))
