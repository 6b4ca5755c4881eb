"""No Kafka message, whatever it contains, makes a service end, stop consuming or block."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer

from services.analytics.operations.watchlist import watch
from services.trading.feed.demand import DemandedSeries
from shared.chassis.clock import utc_now
from stack.consumer_lag import consumer_lag
from stack.migrate import DatabaseAccess
from stack.topics import open_admin_client
from tests.as_tenant import as_tenant
from tests.contracts.samples import SAMPLES
from tests.hostile.mutations import Mutation, good, mutations
from tests.integration.accounts import eventually
from tests.integration.notifications.conftest import make_alert
from tests.integration.trading.market import Market
from tests.isolation.world import World, running_services, trading
from tests.unit.trading.scenes import wavy_bars

ServiceEnv = Callable[[str], dict[str, str]]
COUNT = 2_000
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(2**32)
SETTLED_WITHIN_S = 300.0  # on a busy machine; otherwise about ten
GOOD_USER = 4_000_000
BARS = 20


@dataclass
class Scene:
    """All services, a worker and a feed listener, with demand for the market of the samples."""

    world: World
    demanded: DemandedSeries
    bootstrap: str
    prefix: str

    async def send(self, messages: Sequence[Mutation]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            sent = [
                await producer.send(self.prefix + each.topic, each.value, each.key, headers=each.headers)
                for each in messages
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    async def lag(self) -> dict[str, int]:
        async with open_admin_client(self.bootstrap) as admin:
            return dict(await consumer_lag(admin, self.bootstrap, self.prefix))

    async def number(self, query: str) -> int:
        found: int = await self.world.database.fetchval(query)
        return found

    async def ready(self) -> dict[str, tuple[int, list[str]]]:
        """Return status and parked keys of each service's readiness; assert that each of its jobs runs."""
        answers = {}
        async with aiohttp.ClientSession() as session:
            for name, service in self.world.running.items():
                assert not service.failed, name
                async with session.get(f"{service.url}/readyz") as answer:
                    answers[name] = (answer.status, (await answer.json())["parked"])
        return answers


@pytest.fixture
async def scene(
    service_env: ServiceEnv,
    database_access: DatabaseAccess,
    postgres: str,
    tmp_path: Path,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> AsyncIterator[Scene]:
    async with running_services(service_env, database_access, postgres, tmp_path) as (world, exchange):
        service = world.running["trading"]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await as_tenant(world.running["analytics"].database, watch, GOOD_USER, symbol, "15", 5)
        await make_alert(world.running["notifications"].database, GOOD_USER, interval="15")
        demanded = DemandedSeries()
        async with trading(service, exchange), _listen(demanded, world):
            yield Scene(world, demanded, kafka_bootstrap, topic_prefix)


@asynccontextmanager
async def _listen(demanded: DemandedSeries, world: World) -> AsyncIterator[None]:
    service, stop = world.running["trading"], asyncio.Event()
    task = asyncio.create_task(demanded.consume(service._settings, service.database, stop))
    try:
        yield
        assert not task.done(), "it ended"
    finally:
        stop.set()
        await task


@pytest.mark.timeout(600)
async def test_thousands_of_wrong_messages_stop_no_service(scene: Scene) -> None:
    print(f"FUZZ_SEED={SEED}")  # noqa: T201
    await scene.send(list(mutations(SEED, COUNT)))
    await eventually(scene.lag, lambda lag: lag == {}, SETTLED_WITHIN_S)
    assert await scene.number("SELECT count(*) FROM analytics.parked") > 0
    await _assert_valid_messages_are_handled(scene)
    ready = await scene.ready()
    assert {status for status, _ in ready.values()} == {200}, ready


async def _assert_valid_messages_are_handled(scene: Scene) -> None:
    """Check each service, each market topic, and the feed's listener."""
    topics = ("user.registered", "subscription.changed", "session.started", "trade.closed", "activity.recorded")
    number = 900_000 + random.Random(SEED).randrange(10_000)
    await scene.send([good(SAMPLES[topic], number) for topic in (*topics, "market.interest")])
    service = scene.world.running["trading"]
    market = Market(service.database, service.producer, "ETHUSDT", wavy_bars(BARS + 1))
    await market.begin()
    await market.close_bars(BARS)
    user_id = 5_000_000 + number
    for rows in (
        f"analytics.trade_facts WHERE user_id = {user_id}",
        f"billing.usage_ledger WHERE user_id = {user_id}",
        f"trading.entitlements WHERE user_id = {user_id}",
        f"notifications.user_system_events WHERE user_id = {user_id}",
        f"auth.user_activity_log WHERE user_id = {user_id}",
    ):
        await eventually(
            lambda rows=rows: scene.number(f"SELECT count(*) FROM {rows}"),  # type: ignore[misc]
            lambda found: found > 0,
            SETTLED_WITHIN_S,
        )
    analysed = "SELECT count(*) FROM analytics.user_market_analysis"
    await eventually(lambda: scene.number(analysed), lambda found: found == BARS, SETTLED_WITHIN_S)
    series = (f"FUZZ{number}USDT", "15")
    await eventually(lambda: _demanded_series(scene), lambda demanded: series in demanded, SETTLED_WITHIN_S)


async def _demanded_series(scene: Scene) -> set[tuple[str, str]]:
    return scene.demanded.list_series(utc_now())
