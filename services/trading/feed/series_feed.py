"""The feed of one series: turns updates of stream and REST, in any order, into a chain of bars.

Each bar is published once, ascending, and names the bar before it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge

from services.trading.bybit_api import MarketApi, UnknownSymbol
from services.trading.bybit_stream_api import BarUpdate
from services.trading.exchange.venue import VenueUnavailable
from services.trading.feed.candle_events import closed_event, opened_event
from services.trading.feed.demand import SeriesDemand
from services.trading.feed.generations import Generations
from services.trading.feed.queries import StoredCandle
from services.trading.feed.settled_bars import SettledBars
from services.trading.operations.instruments import refresh_instrument
from services.trading.queries.candles import SeriesRow
from shared.chassis.crash_points import point
from shared.chassis.events.producer import Producer
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.market import CandleClosed, CandleOpened
from shared.market.bars import WidenedBar
from shared.strategy.bars import INTERVAL_MS, Bar

RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 10.0
UNKNOWN_FIRST_S = 30.0
UNKNOWN_LONGEST_S = 3600.0
QUIET_S = 30.0  # without an update for this long, REST is asked whether the stream has missed a bar
RECONNECT_AFTER = timedelta(seconds=10)  # the stream is reconnected if it missed a bar that closed this long ago
MAX_BATCH = 1_000
MAX_QUEUED = 5_000
NO_DEMAND = SeriesDemand()

BARS_CHANGED = Counter("feed_bars_changed_total", "Confirmed bars received again with other values", ["symbol"])
BARS_WIDENED = Counter(
    "feed_bars_widened_total", "Bars whose high or low was widened to enclose open and close", ["symbol"]
)
SERIES_UNKNOWN = Gauge("feed_series_unknown", "Series in demand whose symbol the exchange does not list")
BARS_HEALED = Counter("feed_bars_healed_total", "Bars that the stream skipped and REST had", ["symbol"])

log = structlog.get_logger()


class SeriesFeed:
    """Handles queued updates one by one. Asks REST only when the stream has a gap, is quiet or was down."""

    def __init__(
        self,
        symbol: str,
        interval: str,
        database: Database,
        producer: Producer,
        api: MarketApi,
        reconnect_stream: Callable[[], None],
        quiet_s: float = QUIET_S,
        demand: SeriesDemand = NO_DEMAND,
        unknown_first_s: float = UNKNOWN_FIRST_S,
        changed: asyncio.Event | None = None,
    ) -> None:
        """`changed` is set whenever `ready` or `unknown` changes."""
        self._symbol = symbol
        self._interval = interval
        self._step = timedelta(milliseconds=INTERVAL_MS[interval])
        self._producer = producer
        self._database = database
        self._api = api
        self._settled = SettledBars(api, symbol, interval)
        self._generations = Generations(symbol, interval, database, self._settled)
        self._demand = demand
        self._loaded_for: SeriesDemand | None = None
        self._reconnect_stream = reconnect_stream
        self._quiet_s = quiet_s
        self._unknown_first_s = unknown_first_s
        self.unknown = False  # the exchange does not list the symbol
        self._queue: asyncio.Queue[BarUpdate | SeriesDemand | None] = asyncio.Queue()
        self._last: Bar | None = None  # the last confirmed bar
        self._opened: Bar | None = None  # the bar announced as open after it
        self._changed = changed or asyncio.Event()
        self.ready = asyncio.Event()  # history and instrument are stored: the stream may be subscribed

    def enqueue(self, update: BarUpdate) -> None:
        if self._queue.qsize() >= MAX_QUEUED:
            while not self._queue.empty():
                self._queue.get_nowait()
            self.reconcile()  # fetches by REST what is dropped here
        self._queue.put_nowait(update)

    def reconcile(self) -> None:
        """Ask REST for the bars since the last confirmed one, as after a new subscription of the stream."""
        self._queue.put_nowait(None)

    def set_demand(self, demand: SeriesDemand) -> None:
        """Change the demand: more history, or other generations."""
        if demand != self._demand:
            self._demand = demand
            self._queue.put_nowait(demand)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Outages are retried here, so that other series are not affected."""
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
                self._changed.set()
                await self._handle_updates(stop)
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
        """Log only changes, not every retry."""
        if unknown == self.unknown:
            return
        self.unknown = unknown
        self._changed.set()
        SERIES_UNKNOWN.inc(1 if unknown else -1)
        if unknown:
            log.error("unknown_symbol", symbol=self._symbol, interval=self._interval)

    async def _prepare(self) -> None:
        """Store instrument and history, load the generations, and publish bars that may be unpublished."""
        await refresh_instrument(self._database, self._api, self._symbol)
        self._opened = None
        await self._load()

    async def _load(self) -> None:
        """Load every generation in demand, and open one with more history if the demand needs it."""
        demand, known = self._demand, {series.generation for series in self._generations.live}
        self._last = await self._generations.load(demand)
        if await self._generations.deepen(demand.history_bars, self._last):
            self._last = await self._generations.load(demand)
        stored = await self._generations.list_unannounced()
        pending = {series: candles for series, candles in stored.items() if candles}
        if pending:
            count = sum(map(len, pending.values()))
            log.info("bars_published_again", symbol=self._symbol, interval=self._interval, count=count)
            await self._announce(pending, await self._api.server_time())
        if self._opened is not None and self._is_ahead(self._opened):
            added = [series for series in self._generations.live if series.generation not in known]
            await self._publish_opened(added, self._opened, await self._api.server_time())
        self._loaded_for = demand

    async def _handle_updates(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                receiving = asyncio.create_task(self._queue.get())
                both = {receiving, stopping}
                await asyncio.wait(both, timeout=self._quiet_s, return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    await self._handle(receiving.result())
                    continue
                receiving.cancel()
                if not stop.is_set():
                    await self._check_quiet_stream()
        finally:
            stopping.cancel()

    async def _handle(self, update: BarUpdate | SeriesDemand | None) -> None:
        if not isinstance(update, BarUpdate):
            if self._loaded_for != self._demand:
                await self._load()
            if update is None:
                await self._catch_up(None)
            return
        bar = update.bar
        if self._last is not None and bar.open_time_ms <= self._last.open_time_ms:
            if update.confirmed and bar.open_time_ms == self._last.open_time_ms:
                self._compare(bar, self._last)
            return
        if self._skipped(bar.open_time_ms):
            await self._catch_up(bar.open_time)
        if update.confirmed:
            await self._close([bar], update.venue_time)
        elif self._opened is None or self._opened.open_time_ms < bar.open_time_ms:
            await self._open(bar, update.venue_time)

    def _skipped(self, time_ms: int) -> bool:
        """Return whether the stream may have skipped bars between the last confirmed one and this one."""
        if self._opened is not None and self._opened.open_time_ms == time_ms:
            return False
        return self._last is None or time_ms > self._last.open_time_ms + INTERVAL_MS[self._interval]

    async def _check_quiet_stream(self) -> None:
        """Ask REST after a quiet period: there may have been no trade, or the stream may be dead without noticing.

        If it missed a bar, reconnect it.
        """
        before = self._last
        if before is None or await self._api.server_time() < before.open_time + 2 * self._step:
            return
        venue_time = await self._catch_up(None)
        if (
            self._last is not None
            and self._last != before
            and venue_time > self._last.open_time + self._step + RECONNECT_AFTER
        ):
            log.warning("stream_silent", symbol=self._symbol, interval=self._interval)
            self._reconnect_stream()

    async def _catch_up(self, until: datetime | None) -> datetime:
        """Fetch the bars after the last confirmed one, up to `until` (None: now). Returns the exchange's time."""
        reached = self._last.open_time if self._last else None
        while True:
            page = await self._settled.fetch_after(reached, until)
            if page.closed:
                BARS_HEALED.labels(self._symbol).inc(len(page.closed))
                await self._close(page.closed, page.venue_time)
            if page.is_last:
                break
            reached = page.end
        if until is None and page.current is not None and self._is_new(page.current):
            await self._open(page.current, page.venue_time)
        return page.venue_time

    def _is_new(self, bar: Bar) -> bool:
        opened = self._opened
        return self._is_ahead(bar) and (opened is None or bar.open_time_ms > opened.open_time_ms)

    def _is_ahead(self, bar: Bar) -> bool:
        return self._last is None or bar.open_time_ms > self._last.open_time_ms

    async def _close(self, bars: Sequence[Bar], venue_time: datetime) -> None:
        """Store the bars, then publish them. After a crash in between, the next start publishes them."""
        stored = await self._generations.store(bars, self._last)
        self._report_widened(bars)
        newest = stored[self._generations.newest]
        for candle, received in zip(newest, bars, strict=True):
            self._compare(received, candle.bar)
        await self._announce(stored, venue_time)
        self._last = newest[-1].bar

    async def _announce(self, stored: Mapping[SeriesRow, Sequence[StoredCandle]], venue_time: datetime) -> None:
        for series, candles in stored.items():
            for begin in range(0, len(candles), MAX_BATCH):
                batch = candles[begin : begin + MAX_BATCH]
                point("feed.before_candle")
                await self._producer.publish(self._events(series, batch, venue_time))
                await self._generations.mark_announced(series, [candle.bar.open_time for candle in batch])
                point("feed.after_candle")

    def _events(
        self, series: SeriesRow, candles: Sequence[StoredCandle], venue_time: datetime
    ) -> list[CandleOpened | CandleClosed]:
        events: list[CandleOpened | CandleClosed] = []
        for candle in candles:
            if self._opened is None or self._opened.open_time_ms != candle.bar.open_time_ms:
                events.append(opened_event(series, candle.bar, candle.previous_open_time, venue_time))
            elif self._opened.open != candle.bar.open:
                self._report_changed(candle.bar, self._opened)
            events.append(closed_event(series, candle, venue_time))
        return events

    async def _open(self, bar: Bar, venue_time: datetime) -> None:
        await self._generations.mark_opened(bar)
        await self._publish_opened(self._generations.live, bar, venue_time)
        self._opened = bar

    async def _publish_opened(self, generations: Sequence[SeriesRow], bar: Bar, venue_time: datetime) -> None:
        previous = self._last.open_time if self._last else None
        await self._producer.publish([opened_event(series, bar, previous, venue_time) for series in generations])

    def _report_widened(self, bars: Sequence[Bar]) -> None:
        for bar in bars:
            if isinstance(bar, WidenedBar):
                BARS_WIDENED.labels(self._symbol).inc()
                log.warning("bar_widened", symbol=self._symbol, interval=self._interval, bar=str(bar))

    def _compare(self, received: Bar, stored: Bar) -> None:
        """Report a confirmed bar that was received again with other values; the stored bar stays."""
        if received != stored:
            self._report_changed(received, stored)

    def _report_changed(self, received: Bar, stored: Bar) -> None:
        BARS_CHANGED.labels(self._symbol).inc()
        log.error("confirmed_bar_changed", symbol=self._symbol, received=str(received), stored=str(stored))
