"""The feed: which series are wanted, one SeriesFeed for each, one stream for all; led by lease."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from aiokafka.errors import KafkaError

from services.trading.bybit_api import KlineUpdate, MarketApi, MarketStream
from services.trading.feed import ledger
from services.trading.feed.series_feed import SeriesFeed
from services.trading.settings import TradingSettings
from shared.chassis.clock import utc_now
from shared.chassis.kafka import PartitionReader
from shared.chassis.pausing import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.producer import Producer
from shared.chassis.service_types import Context, Job
from shared.contracts.market import MarketInterest

RENEW_EVERY_S = 1.0
LOOK_EVERY_S = 0.05
KEEP_UNWANTED = timedelta(minutes=10)
INTERVALS_WAIT_MS = 200

log = structlog.get_logger()

SeriesKey = tuple[str, str]


class Wishes:
    """Who wants which series, by the latest word of each; a series stays for a while after the last wish."""

    def __init__(self) -> None:
        self._wished: dict[SeriesKey, dict[str, MarketInterest]] = {}
        self._dropped_at: dict[SeriesKey, datetime] = {}

    def hear(self, wish: MarketInterest, now: datetime) -> None:
        series = (wish.symbol, wish.interval)
        known = self._wished.setdefault(series, {})
        before = known.get(wish.wished_by)
        if before is None or wish.interest_version > before.interest_version:
            known[wish.wished_by] = wish
        if any(each.wanted for each in known.values()):
            self._dropped_at.pop(series, None)
        else:
            self._dropped_at.setdefault(series, now)

    def wanted(self, now: datetime) -> set[SeriesKey]:
        return {
            series
            for series in self._wished
            if series not in self._dropped_at or now - self._dropped_at[series] < KEEP_UNWANTED
        }


class Feed:
    """Leads while it holds the lease; stands by otherwise."""

    def __init__(self, database: Database, producer: Producer, settings: TradingSettings) -> None:
        self._database = database
        self._producer = producer
        self._settings = settings
        self._holder = str(uuid4())

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if await self._holds_lease():
                await self._lead(stop)
            else:
                await pause(stop, RENEW_EVERY_S)

    async def _holds_lease(self) -> bool:
        async with self._database.tenants(()) as connection:
            return await ledger.take_lease(connection, self._holder)

    async def _lead(self, stop: asyncio.Event) -> None:
        """Until told to stop or the lease is lost; the lease is let go at once when we stop in order."""
        log.info("feed_leads", holder=self._holder)
        over = asyncio.Event()
        api = MarketApi(self._settings.bybit_rest_url)
        leading = _Leading(self._database, self._producer, api, self._settings, over)
        tasks = [asyncio.create_task(work) for work in (leading.run(), self._keep_lease(over, stop))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            over.set()
            await asyncio.gather(*tasks)
            for task in done:
                task.result()
        finally:
            over.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            api.close()
            async with self._database.tenants(()) as connection:
                await ledger.release_lease(connection, self._holder)

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
                if utc_now() - failing_since > ledger.LEASE:
                    return


class _Leading:
    """What a leading feed does."""

    def __init__(
        self,
        database: Database,
        producer: Producer,
        api: MarketApi,
        settings: TradingSettings,
        over: asyncio.Event,
    ) -> None:
        self._database = database
        self._producer = producer
        self._api = api
        self._over = over
        self._settings = settings
        self._wishes = Wishes()
        self._series: dict[SeriesKey, SeriesFeed] = {}
        self._tasks: dict[SeriesKey, asyncio.Task[None]] = {}
        self._stream = MarketStream(settings.bybit_ws_url, self._on_update, self._on_subscribed)

    async def run(self) -> None:
        stream = asyncio.create_task(self._stream.run(self._over))
        listener = asyncio.create_task(self._listen())
        try:
            while not self._over.is_set():
                for task in (stream, listener, *self._tasks.values()):
                    if task.done():
                        task.result()  # a fault of ours is not to be hidden
                self._follow_wishes()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._over.set()
            tasks = [stream, listener, *self._tasks.values()]
            _, late = await asyncio.wait(tasks, timeout=5)
            for task in late:
                task.cancel()

    def _follow_wishes(self) -> None:
        wanted = self._wishes.wanted(utc_now())
        for series in wanted - self._series.keys():
            feed = SeriesFeed(*series, self._database, self._producer, self._api)
            self._series[series] = feed
            self._tasks[series] = asyncio.create_task(feed.run(self._over))
        for series in self._series.keys() - wanted:
            self._tasks.pop(series).cancel()
            del self._series[series]
        self._stream.want({series for series, feed in self._series.items() if feed.ready.is_set()})

    async def _listen(self) -> None:
        """Wishes from the beginning of their topic; again from there when the broker was away."""
        settings = self._settings
        while not self._over.is_set():
            reader = PartitionReader(
                settings.kafka_bootstrap, settings.kafka_topic_prefix, [MarketInterest], from_end=False
            )
            try:
                await reader.start()
                while not self._over.is_set():
                    for received in await reader.read(INTERVALS_WAIT_MS):
                        if isinstance(received.event, MarketInterest):
                            self._wishes.hear(received.event, utc_now())
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("wishes_retry", error=repr(error))
                await pause(self._over, 1.0)
            finally:
                await reader.stop()

    def _on_update(self, update: KlineUpdate) -> None:
        if (feed := self._series.get((update.symbol, update.interval))) is not None:
            feed.tell(update)

    def _on_subscribed(self, symbol: str, interval: str) -> None:
        if (feed := self._series.get((symbol, interval))) is not None:
            feed.reconcile()


def feed_job(context: Context, settings: TradingSettings) -> Job:
    """The feed as a job of its own role: `--only feed`."""
    return Job("feed", Feed(context.database, context.producer, settings).run, role="feed")
