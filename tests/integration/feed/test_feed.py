"""The feed between the sandbox of the exchange and Kafka: each bar once, ascending, in a chain."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import pytest
from aiohttp.test_utils import BaseTestServer, TestServer

from sandbox.bybit.messages import Instrument
from sandbox.bybit.replay import Candle, Market
from sandbox.bybit.server import make_app
from services.trading.app import build
from services.trading.settings import TradingSettings
from shared.chassis.kafka import PartitionReader
from shared.chassis.outbox import emit
from shared.chassis.service import RunningService
from shared.contracts.envelope import Message
from shared.contracts.market import CandleClosed, CandleOpened, MarketInterest
from shared.contracts.types import to_ms

MINUTE = 60_000
FIRST = 29_500_000
ServiceEnv = Callable[[str], dict[str, str]]


@pytest.fixture
async def exchange() -> AsyncIterator[BaseTestServer]:
    numbers = [*range(FIRST, FIRST + 20), *range(FIRST + 25, FIRST + 40)]  # the market has a hole
    bars = [Candle(n * MINUTE, "10", "12", "9", str(10 + n % 3), "5") for n in numbers]
    async with TestServer(make_app(Market({"BTCUSDT": bars}), {"BTCUSDT": Instrument()})) as server:
        yield server


@pytest.fixture
def settings(service_env: ServiceEnv, exchange: BaseTestServer) -> TradingSettings:
    values: dict[str, object] = {name.lower(): value for name, value in service_env("trading").items()}
    address = f"{exchange.host}:{exchange.port}"
    urls = {"bybit_rest_url": f"http://{address}", "bybit_ws_url": f"ws://{address}/v5/public/linear"}
    return TradingSettings.model_validate({**values, **urls})


@asynccontextmanager
async def feeding(settings: TradingSettings) -> AsyncIterator[RunningService]:
    async with RunningService(build, settings, {"feed", "relay"}) as running:
        async with running.database.queue() as connection:
            await emit(connection, wish(), source="trading")
        yield running


def wish() -> MarketInterest:
    return MarketInterest(
        user_id=0,
        public_id=UUID(int=0),
        aggregate="market_interest",
        aggregate_seq=1,
        wished_by="trading",
        symbol="BTCUSDT",
        interval="1",
        wanted=True,
        interest_version=1,
    )


async def control(exchange: BaseTestServer, steps: int = 0) -> dict[str, object]:
    async with aiohttp.ClientSession(exchange.make_url("/")) as session:
        if steps:
            await session.post("/control/step", json={"count": steps})
        async with session.get("/control/state") as answer:
            state: dict[str, object] = await answer.json()
            return state


async def subscribed(exchange: BaseTestServer) -> None:
    async with asyncio.timeout(30):
        while not (await control(exchange))["subscriptions"]:
            await asyncio.sleep(0.05)


async def said(settings: TradingSettings, closed: int) -> list[tuple[str, int, int | None]]:
    """Everything said until so many bars have closed, without repetitions: kind, bar, bar before."""
    events: list[type[Message]] = [CandleOpened, CandleClosed]
    reader = PartitionReader(settings.kafka_bootstrap, settings.kafka_topic_prefix, events, from_end=False)
    await reader.start()
    seen: dict[UUID, tuple[str, int, int | None]] = {}
    try:
        async with asyncio.timeout(30):
            while sum(kind == "closed" for kind, _, _ in seen.values()) < closed:
                for received in await reader.read(200):
                    event = received.event
                    assert isinstance(event, CandleOpened | CandleClosed)
                    before = event.previous_open_time
                    told = (event.kind, number(to_ms(event.open_time)), number(to_ms(before)) if before else None)
                    seen.setdefault(event.event_id(), told)
    finally:
        await reader.stop()
    return list(seen.values())


def number(milliseconds: int) -> int:
    return milliseconds // MINUTE - FIRST


def chain(told: list[tuple[str, int, int | None]], kind: str) -> list[tuple[int, int | None]]:
    return [(bar, before) for each, bar, before in told if each == kind]


async def test_bars_are_said_once_in_a_chain_over_a_hole(
    settings: TradingSettings, exchange: BaseTestServer
) -> None:
    async with feeding(settings):
        await subscribed(exchange)
        await control(exchange, 28)
        told = await said(settings, 25)
    bars = [*range(20), *range(25, 30)]
    expected = list(zip(bars, [None, *bars], strict=False))
    assert chain(told, "closed") == expected
    assert chain(told, "opened")[:25] == expected


async def test_a_feed_that_was_away_says_what_it_missed(
    settings: TradingSettings, exchange: BaseTestServer
) -> None:
    async with feeding(settings):
        await subscribed(exchange)
        await control(exchange, 6)
        await said(settings, 5)
    await control(exchange, 8)
    async with feeding(settings):
        told = await said(settings, 13)
    assert [bar for bar, _ in chain(told, "closed")] == list(range(13))


async def test_bars_from_before_are_stored_and_not_said(
    settings: TradingSettings, exchange: BaseTestServer
) -> None:
    await control(exchange, 11)
    async with feeding(settings) as running:
        await subscribed(exchange)
        await control(exchange, 3)
        told = await said(settings, 3)
        async with running.database.untenanted() as connection:
            stored = await connection.fetch("SELECT origin, count(*) FROM candles GROUP BY origin ORDER BY origin")
    assert [bar for bar, _ in chain(told, "closed")] == [10, 11, 12]
    assert [tuple(row) for row in stored] == [("HISTORY", 10), ("STREAM", 3)]


async def test_two_feeds_say_nothing_twice_and_one_takes_over(
    settings: TradingSettings, exchange: BaseTestServer
) -> None:
    async with feeding(settings):
        await subscribed(exchange)
        async with RunningService(build, settings, {"feed"}):
            await control(exchange, 6)
            assert [bar for bar, _ in chain(await said(settings, 5), "closed")] == list(range(5))
