"""Trading on the real database and broker; the test plays the market."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
from aiohttp.test_utils import TestServer

from services.trading.app import build
from services.trading.bybit_api import MarketApi
from services.trading.consumers import on_subscription_changed
from services.trading.operations.configurations import create_configuration
from services.trading.operations.start_session import PaperTerms, StartRequest, start_session
from services.trading.operations.strategies import create_strategy
from services.trading.queries.configurations import ConfigurationValues
from services.trading.queries.sessions import SessionRow
from services.trading.settings import TradingSettings
from services.trading.venue_clock import VenueClock
from services.trading.worker.worker import IDLE_CLAIM_EVERY_S, Worker
from shared.chassis.auth import SCOPES, Principal
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.contracts.billing import Features, Limits, PlanName, SubscriptionChanged
from shared.contracts.types import from_ms
from shared.strategy.bars import Bar
from shared.testing.api_client import open_client
from shared.testing.tokens import serve_tokens
from stack.migrate import DatabaseAccess
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.callers import Api
from tests.integration.trading.market import BEFORE, Exchange, Market
from tests.unit.trading.scenes import CROSS

ServiceEnv = Callable[[str], dict[str, str]]
PAPER = PaperTerms(Decimal("0.00055"), Decimal(0))


def limits(strategies: int | None, symbols: int | None) -> Limits:
    return Limits(
        max_trades_per_month=None,
        max_active_strategies=strategies,
        max_symbols=symbols,
        daily_api_requests=None,
        max_backtests_per_day=None,
    )


def plan_changed(
    user_id: int, version: int, plan: PlanName, strategies: int | None, symbols: int | None = None
) -> SubscriptionChanged:
    return SubscriptionChanged(
        user_id=user_id,
        public_id=UUID(int=user_id),
        aggregate="subscription",
        aggregate_seq=version,
        subscription_version=version,
        plan=plan,
        status="ACTIVE",
        limits=limits(strategies, symbols),
        features=Features.model_validate(dict.fromkeys(Features.model_fields, False)),
        period_start=BEFORE,
        period_end=None,
        previous_plan=None,
        reason="test",
    )


async def consume(database: Database, event: SubscriptionChanged) -> None:
    async with database.tenants([event.user_id]) as connection:
        await on_subscription_changed(connection, [event])


def configuration_values(**values: object) -> ConfigurationValues:
    """Return a configuration's values; those that are not given limit nothing."""
    unlimited = dict.fromkeys(ConfigurationValues.__dataclass_fields__)
    required = {"config_name": "limits", "config_data": {}, "is_active": True, "is_default": False}
    return ConfigurationValues(**cast("dict[str, Any]", {**unlimited, **required, **values}))


@dataclass
class Trading:
    """The trading service under test: set tenants up, run workers and query the tables."""

    database: Database
    settings: TradingSettings
    producer: Producer
    clock: VenueClock
    exchange: Exchange
    owner_dsn: str
    owner: asyncpg.Pool
    versions: dict[int, int] = field(default_factory=dict)

    async def subscribe(
        self, user_id: int, plan: PlanName = "PRO", strategies: int | None = None, symbols: int | None = None
    ) -> Principal:
        """Consume the subscription event that makes the tenant known to trading, and return their principal."""
        version = self.versions[user_id] = self.versions.get(user_id, 0) + 1
        await consume(self.database, plan_changed(user_id, version, plan, strategies, symbols))
        return Principal(user_id, UUID(int=user_id), SCOPES, None)

    async def strategy(self, user_id: int, document: Mapping[str, object] = CROSS, **changes: object) -> UUID:
        return (await as_tenant(self.database, create_strategy, user_id, {**document, **changes})).strategy_id

    async def configuration(self, user_id: int, **values: object) -> UUID:
        row = await as_tenant(self.database, create_configuration, user_id, configuration_values(**values))
        return row.bot_configuration_id

    async def start(
        self,
        caller: Principal,
        strategy_id: UUID,
        symbol: str = "BTCUSDT",
        configuration_id: UUID | None = None,
        venue_now: datetime = BEFORE,
    ) -> SessionRow:
        request = StartRequest(strategy_id, None, configuration_id, symbol, "PAPER", Decimal(10_000))
        return await as_tenant(self.database, start_session, caller, request, PAPER, venue_now)

    async def market(self, bars: Sequence[Bar], symbol: str = "BTCUSDT") -> Market:
        market = Market(self.database, self.producer, symbol, bars)
        await market.begin()
        return market

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a query as the owner of the tables, across all tenants."""
        return list(await self.owner.fetch(query, *arguments))

    async def until_stepped(self, last_bar_ms: int, within_s: float = 20) -> None:
        """Wait until every running session has processed this bar."""
        query = "SELECT session_id, last_bar FROM session_cursors WHERE NOT ended AND last_bar IS DISTINCT FROM $1"
        await eventually(lambda: self.fetch(query, from_ms(last_bar_ms)), lambda rows: not rows, within_s)

    async def until(self, query: str, *arguments: object) -> None:
        """Wait until the query returns a row."""
        await eventually(lambda: self.fetch(query, *arguments), bool, 60)

    @asynccontextmanager
    async def worker(self, idle_claim_every_s: float = IDLE_CLAIM_EVERY_S) -> AsyncIterator[Worker]:
        """Run a worker; on exit it is stopped and releases its leases."""
        stop = asyncio.Event()
        worker = Worker(self.database, self.settings, self.clock, idle_claim_every_s=idle_claim_every_s)
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker
        finally:
            stop.set()
            await task


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    server = TestServer(exchange.app())
    await server.start_server()
    exchange.url = f"http://127.0.0.1:{server.port}"
    yield exchange
    await server.close()


@pytest.fixture
async def trading(
    service_env: ServiceEnv, database_access: DatabaseAccess, exchange: Exchange
) -> AsyncIterator[Trading]:
    values: dict[str, object] = {name.lower(): value for name, value in service_env("trading").items()}
    settings = TradingSettings.model_validate({**values, "bybit_rest_url": exchange.url})
    database = await Database.connect(settings)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix, "trading")
    api = MarketApi(exchange.url)
    dsn = database_access.owner_dsn
    async with asyncpg.create_pool(dsn, min_size=0, server_settings={"search_path": "trading"}) as owner:
        yield Trading(database, settings, producer, VenueClock(api), exchange, dsn, owner)
    api.close()
    await producer.discard()
    await database.close()


@pytest.fixture
async def api(trading: Trading) -> AsyncIterator[Api]:
    """Trading over HTTP, with a worker."""
    async with _serve(trading, {"http", "relay", "jobs", "worker"}) as served:
        yield served


@pytest.fixture
async def api_without_worker(trading: Trading) -> AsyncIterator[Api]:
    """Trading over HTTP, for tests that run their own worker."""
    async with _serve(trading, {"http", "relay", "jobs"}) as served:
        yield served


@asynccontextmanager
async def _serve(trading: Trading, components: set[str]) -> AsyncIterator[Api]:
    async with serve_tokens() as tokens:
        settings = trading.settings.model_copy(update={"jwks_url": tokens.jwks_url})
        async with RunningService(build, settings, components) as running:
            async with open_client(running.url) as client:
                yield Api(trading, client, tokens, running)
