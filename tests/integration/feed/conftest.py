"""The feed on the real database and broker, reading the sandbox exchange through pybit."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from sandbox.bybit.replay import Candle
from services.trading.bybit_api import MarketApi, parse_bar
from services.trading.bybit_stream_api import BarUpdate
from services.trading.feed.demand import DemandedSeries
from services.trading.feed.feed import Feed, FeedLeader
from services.trading.feed.series_feed import BARS_CHANGED, SeriesFeed
from services.trading.settings import TradingSettings
from shared.chassis.clock import utc_now
from shared.chassis.events.decoding import Received
from shared.chassis.events.handlers import PartitionReader
from shared.chassis.events.outbox import serialise
from shared.chassis.events.producer import Outgoing, Producer
from shared.chassis.postgres import Database
from shared.contracts.envelope import MarketEvent
from shared.contracts.market import CandleClosed, CandleOpened, MarketInterest
from shared.contracts.types import from_ms, to_ms
from stack.migrate import ROOT, DatabaseAccess
from tests.integration.accounts import eventually
from tests.integration.feed.exchange import FIRST_MS, MINUTE_MS, Exchange, candles

ServiceEnv = Callable[[str], dict[str, str]]
BarEvent = tuple[str, int, int | None]  # kind, minute, the minute of the bar before


class RecordingProducer(Producer):
    """The real producer, which records the acknowledged events in order."""

    def __init__(self, settings: TradingSettings) -> None:
        super().__init__(settings.kafka_bootstrap, settings.kafka_topic_prefix, "trading")
        self.published: list[MarketEvent] = []

    async def publish(self, events: Sequence[MarketEvent]) -> None:
        await super().publish(events)
        self.published += events


def minute_of(event: MarketEvent) -> BarEvent:
    assert isinstance(event, CandleOpened | CandleClosed)
    before = event.previous_open_time
    minutes = [None if at is None else (to_ms(at) - FIRST_MS) // MINUTE_MS for at in (event.open_time, before)]
    assert minutes[0] is not None
    return ("closed" if isinstance(event, CandleClosed) else "opened", minutes[0], minutes[1])


def chain(*minutes: int, after: int | None = None) -> list[BarEvent]:
    """Return the events that a feed without faults publishes for these bars, all of them closed."""
    before = [after, *minutes]
    return [(kind, *pair) for pair in zip(minutes, before, strict=False) for kind in ("opened", "closed")]


@dataclass
class FeedScene:
    """The feed under test: publish demand, run feeds, and read tables and topics."""

    settings: TradingSettings
    env: dict[str, str]
    owner: asyncpg.Pool
    exchange: Exchange
    database: Database
    producers: list[RecordingProducer] = field(default_factory=list)

    async def demand(
        self,
        symbol: str,
        interval: str = "1",
        version: int = 1,
        *,
        wanted: bool = True,
        history_bars: int = 0,
        generations: tuple[int, ...] = (),
        ago: timedelta = timedelta(0),
    ) -> None:
        """Publish demand for a series, as a service's job does."""
        interest = MarketInterest(
            user_id=0,
            public_id=UUID(int=0),
            aggregate="market_interest",
            aggregate_seq=version,
            wished_by="trading",
            symbol=symbol,
            interval=interval,
            wanted=wanted,
            interest_version=version,
            history_bars=history_bars,
            generations=generations,
        )
        producer = self.producer()
        _, headers, payload = serialise(interest, "trading", utc_now() - ago)
        await producer.send([Outgoing(interest.topic, interest.key(), headers, payload)])

    def producer(self) -> RecordingProducer:
        self.producers.append(RecordingProducer(self.settings))
        return self.producers[-1]

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[RecordingProducer]:
        """Run a feed in this process; it is stopped on exit."""
        producer = self.producer()
        stop = asyncio.Event()
        running = asyncio.create_task(Feed(self.database, producer, self.settings).run(stop))
        try:
            yield producer
        finally:
            stop.set()
            await running

    @asynccontextmanager
    async def series(self, quiet_s: float = 30) -> AsyncIterator["SingleSeries"]:
        """Run the series feed of BTCUSDT; the test plays its stream."""
        producer, stop = self.producer(), asyncio.Event()
        api = MarketApi(self.settings.bybit_rest_url)
        renewals: list[str] = []
        series = SeriesFeed(
            "BTCUSDT", "1", self.database, producer, api, lambda: renewals.append("renewed"), quiet_s
        )
        running = asyncio.create_task(series.run(stop))
        try:
            await asyncio.wait_for(series.ready.wait(), 60)
            yield SingleSeries(series, producer, renewals, _alarms())
        finally:
            stop.set()
            await running
            api.close()

    @asynccontextmanager
    async def leading_feed(self) -> AsyncIterator[RecordingProducer]:
        """Run a feed that leads without the lease, like a stalled leader that does not know that it lost it."""
        producer, stop, demanded = self.producer(), asyncio.Event(), DemandedSeries()
        api = MarketApi(self.settings.bybit_rest_url)
        leader = FeedLeader(self.database, producer, api, self.settings, demanded, stop)
        tasks = [
            asyncio.create_task(work)
            for work in (demanded.consume(self.settings, self.database, stop), leader.run())
        ]
        try:
            yield producer
        finally:
            stop.set()
            await asyncio.gather(*tasks)
            api.close()

    @asynccontextmanager
    async def dying_feed(self, moment: str, minute: int) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a feed in a process that kills itself `before` or `after` it publishes that this bar closed."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.env}
        command = [sys.executable, "-m", "tests.integration.feed.dying_feed", moment, str(minute)]
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def until_subscribed(self, *symbols: str) -> None:
        wanted = [f"kline.1.{symbol}" for symbol in sorted(symbols)]
        await eventually(self.exchange.subscriptions, lambda topics: topics == wanted, 60)

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a query as the owner of the tables."""
        return list(await self.owner.fetch(query, *arguments))

    async def stored_minutes(self) -> list[int]:
        """Return the minutes of all stored bars."""
        rows = await self.fetch("SELECT open_time FROM candles ORDER BY open_time")
        return [(to_ms(row["open_time"]) - FIRST_MS) // MINUTE_MS for row in rows]

    async def read_topics(self) -> list[Received]:
        """Return all candle events on the broker, from the beginning."""
        settings = self.settings
        reader = PartitionReader(
            settings.kafka_bootstrap, settings.kafka_topic_prefix, [CandleOpened, CandleClosed], from_end=False
        )
        try:
            await reader.start()
            received: list[Received] = []
            while not await reader.caught_up():
                received += await reader.read()
            return received
        finally:
            await reader.stop()


async def until_published(producer: RecordingProducer, count: int, within_s: float = 60) -> list[BarEvent]:
    """Wait until `count` events have been published, and return all of them."""

    async def look() -> list[BarEvent]:
        return [minute_of(event) for event in producer.published]

    return await eventually(look, lambda seen: len(seen) >= count, within_s)


@dataclass
class SingleSeries:
    feed: SeriesFeed
    producer: RecordingProducer
    renewals: list[str]
    alarms_before: int

    @property
    def alarms(self) -> int:
        return _alarms() - self.alarms_before

    async def until_renewed(self) -> list[str]:
        """Wait for a renewal of the stream, and return all: it follows the publication of REST's bars."""

        async def look() -> list[str]:
            return list(self.renewals)

        return await eventually(look, bool)

    def receive(self, minute: int, *, confirmed: bool, close: str = "") -> None:
        """Receive an update of a bar of `candles`, as from the stream."""
        (bar,) = candles([minute])
        received = parse_bar(bar.start, bar.open, bar.high, bar.low, close or bar.close, bar.volume, interval="1")
        end = from_ms(bar.start + MINUTE_MS if confirmed else bar.start)
        self.feed.enqueue(BarUpdate("BTCUSDT", "1", received, confirmed, end))


def _alarms() -> int:
    return int(BARS_CHANGED.labels("BTCUSDT")._value.get())


@pytest.fixture
async def scene(
    request: pytest.FixtureRequest, service_env: ServiceEnv, database_access: DatabaseAccess
) -> AsyncIterator[FeedScene]:
    """The feed with forty bars of BTCUSDT, or with the files given as parameter."""
    files: Mapping[str, Sequence[Candle]] = getattr(request, "param", {"BTCUSDT": candles(range(40))})
    exchange = Exchange(files)
    await exchange.start()
    urls = {"BYBIT_REST_URL": exchange.rest_url, "BYBIT_WS_URL": exchange.ws_url}
    env = {**service_env("trading"), **urls}
    settings = TradingSettings.model_validate({name.lower(): value for name, value in env.items()})
    database = await Database.connect(settings)
    search_path = {"search_path": "trading"}
    async with asyncpg.create_pool(database_access.owner_dsn, min_size=0, server_settings=search_path) as owner:
        scene = FeedScene(settings, env, owner, exchange, database)
        yield scene
    for producer in scene.producers:
        await producer.discard()
    await database.close()
    await exchange.stop()
