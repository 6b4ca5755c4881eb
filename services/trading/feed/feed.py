"""The feed: one SeriesFeed for each series in demand, one stream for all of them; one feed leads, by lease."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import structlog

from services.trading.bybit_api import MarketApi
from services.trading.bybit_stream_api import BarUpdate, MarketStream, SeriesKey
from services.trading.feed import queries
from services.trading.feed.demand import DemandedSeries
from services.trading.feed.instruments import refresh_instruments
from services.trading.feed.series_feed import SeriesFeed
from services.trading.settings import TradingSettings
from shared.chassis.clock import utc_now
from shared.chassis.events.producer import Producer
from shared.chassis.jobs import Job
from shared.chassis.pause import pause, pause_until
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.service_types import Context

RENEW_EVERY_S = 1.0
CHECK_DEMAND_EVERY_S = 1.0  # also whenever the demand changes or a series is prepared
STOP_WITHIN_S = 5

log = structlog.get_logger()


class Feed:
    """Leads while it holds the lease; otherwise on standby, still reading the demand."""

    def __init__(self, database: Database, producer: Producer, settings: TradingSettings) -> None:
        self._database = database
        self._producer = producer
        self._settings = settings
        self._demand = DemandedSeries()
        self._holder = str(uuid4())

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. The feed also ends when it can no longer read the demand."""
        over = asyncio.Event()
        reading = asyncio.create_task(self._demand.consume(self._settings, self._database, over))
        following = asyncio.create_task(self._follow(over))
        stopping = asyncio.create_task(stop.wait())
        tasks: list[asyncio.Task[Any]] = [reading, following, stopping]  # Any: their result types differ
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            over.set()
            for task in (following, reading):
                await task
        finally:
            over.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if await self._holds_lease():
                await self._lead(stop)
            else:
                await pause(stop, RENEW_EVERY_S)

    async def _holds_lease(self) -> bool:
        async with self._database.tenants(()) as connection:
            return await queries.take_lease(connection, self._holder)

    async def _lead(self, stop: asyncio.Event) -> None:
        """Lead until `stop` is set or the lease is lost. A regular stop releases the lease at once."""
        log.info("feed_leads", holder=self._holder)
        over = asyncio.Event()
        api = MarketApi(self._settings.bybit_rest_url)
        leading = FeedLeader(self._database, self._producer, api, self._settings, self._demand, over)
        tasks = [asyncio.create_task(work) for work in (leading.run(), self._keep_lease(over, stop))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            over.set()
            await asyncio.gather(*tasks)
        finally:
            over.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            api.close()
            async with self._database.tenants(()) as connection:
                await queries.release_lease(connection, self._holder)

    async def _keep_lease(self, over: asyncio.Event, stop: asyncio.Event) -> None:
        failing_since: datetime | None = None
        while not over.is_set():
            await pause(stop, RENEW_EVERY_S)
            if stop.is_set():
                return
            try:
                if not await self._holds_lease():
                    log.warning("feed_lease_lost", holder=self._holder)
                    return
                failing_since = None
            except INFRASTRUCTURE_FAULTS as error:
                failing_since = failing_since or utc_now()
                log.warning("feed_lease_retries", error=repr(error))
                if utc_now() - failing_since > queries.LEASE:
                    return


class FeedLeader:
    """The work of the feed that holds the lease: follow the demand, with one SeriesFeed for each series."""

    def __init__(
        self,
        database: Database,
        producer: Producer,
        api: MarketApi,
        settings: TradingSettings,
        demand: DemandedSeries,
        over: asyncio.Event,
    ) -> None:
        self._database = database
        self._producer = producer
        self._api = api
        self._demand = demand
        self._over = over
        self._instruments_every_s = settings.instruments_every_s
        self._series: dict[SeriesKey, SeriesFeed] = {}
        self._tasks: dict[SeriesKey, asyncio.Task[None]] = {}
        self._dropped: set[SeriesKey] = set()  # their symbols are unknown, and there is no demand now
        self._stream = MarketStream(settings.bybit_ws_url, self._on_update, self._on_subscribed)

    async def run(self) -> None:
        stream = asyncio.create_task(self._stream.run(self._over))
        instruments = asyncio.create_task(
            refresh_instruments(self._database, self._api, self._symbols, self._instruments_every_s, self._over)
        )
        try:
            while not self._over.is_set():
                for task in (stream, instruments, *self._tasks.values()):
                    if task.done():
                        task.result()  # raises what ended it: a programming error must not stay hidden
                self._follow_demand()
                await pause_until(self._over, self._demand.changed, CHECK_DEMAND_EVERY_S)
        finally:
            self._over.set()
            running = [stream, instruments, *self._tasks.values()]
            _, late = await asyncio.wait(running, timeout=STOP_WITHIN_S)
            for task in late:
                task.cancel()

    def _symbols(self) -> set[str]:
        return {symbol for (symbol, _), feed in self._series.items() if feed.ready.is_set()}

    def _follow_demand(self) -> None:
        now = utc_now()
        wanted = self._demand.list_series(now)
        # An unknown symbol gets no grace period: it is dropped as soon as no service demands it.
        unknown = {series for series, feed in self._series.items() if feed.unknown} | self._dropped
        self._dropped = {series for series in unknown & wanted if not self._demand.has_demand(series)}
        wanted -= self._dropped
        for series in wanted & self._series.keys():
            self._series[series].set_demand(self._demand.demand_for(series, now))
        for series in wanted - self._series.keys():
            demand = self._demand.demand_for(series, now)
            feed = SeriesFeed(
                *series,
                self._database,
                self._producer,
                self._api,
                self._stream.reconnect,
                demand=demand,
                changed=self._demand.changed,
            )
            self._series[series] = feed
            self._tasks[series] = asyncio.create_task(feed.run(self._over))
        for series in self._series.keys() - wanted:
            self._tasks.pop(series).cancel()
            del self._series[series]
        self._stream.set_series({series for series, feed in self._series.items() if feed.ready.is_set()})

    def _on_update(self, update: BarUpdate) -> None:
        if (feed := self._series.get((update.symbol, update.interval))) is not None:
            feed.enqueue(update)

    def _on_subscribed(self, symbol: str, interval: str) -> None:
        if (feed := self._series.get((symbol, interval))) is not None:
            feed.reconcile()


def feed_job(context: Context, settings: TradingSettings) -> Job:
    """Return the feed as a job of its own role: `--only feed`."""
    return Job("feed", Feed(context.database, context.producer, settings).run, role="feed")
