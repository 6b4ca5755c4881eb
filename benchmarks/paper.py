"""Paper sessions on trading's own processes, and a market that the benchmark advances bar by bar."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
from aiohttp.test_utils import TestServer

from benchmarks.servers import BenchmarkServers
from services.trading.operations.start_session import PaperTerms, StartRequest, start_session
from services.trading.operations.strategies import create_strategy
from services.trading.settings import TradingSettings
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Database
from shared.contracts.types import from_ms
from stack.migrate import ROOT
from tests.as_tenant import as_tenant
from tests.integration.trading.market import BEFORE, Exchange, Market
from tests.unit.trading.scenes import INTERVAL, STEP_MS, wavy_bars

WITHIN_S = 240.0
CONCURRENCY = 8
PAPER = PaperTerms(Decimal("0.00055"), Decimal(0))
# Has a fill at every open: entry, exit, entry, …
RESTLESS: dict[str, object] = {
    "strategy_name": "restless",
    "strategy_config": {"interval": INTERVAL, "side": "LONG", "indicators": {}},
    "entry_conditions": {"left": "close", "op": ">", "right": "0"},
    "risk_management": {"position_size": {"type": "fixed_base", "value": "1"}, "max_bars": 1},
}


@dataclass
class Scene:
    database: Database
    superuser: asyncpg.Connection
    environment: dict[str, str]
    producer: Producer
    exchange: Exchange

    async def market(self, symbol: str, bars: int, seed: int = 7) -> Market:
        """Create a market whose first bar is open."""
        self.exchange.symbols.add(symbol)
        market = Market(self.database, self.producer, symbol, wavy_bars(bars, seed))
        await market.begin()
        return market

    async def subscribe(self, users: int) -> None:
        """Give users 1 to `users` a plan without limits."""
        await self.superuser.execute(
            """
            INSERT INTO trading.entitlements (user_id, public_id, subscription_version, plan, status,
                                              has_backtesting)
            SELECT n, gen_random_uuid(), 1, 'PRO', 'ACTIVE', true FROM generate_series(1, $1::bigint) AS n
            """,
            users,
        )

    async def start(
        self, documents: Mapping[int, Mapping[str, object]], *symbols: str, since: datetime = BEFORE
    ) -> None:
        """Start each user's strategy on each symbol, from `since` on; earlier stored bars are its history."""
        slots = asyncio.Semaphore(CONCURRENCY)

        async def start_of(user_id: int, document: Mapping[str, object]) -> None:
            async with slots:
                strategy = await as_tenant(self.database, create_strategy, user_id, document)
                caller = Principal(user_id, UUID(int=user_id), frozenset(), None)
                for symbol in symbols:
                    request = StartRequest(strategy.strategy_id, None, None, symbol, "PAPER", Decimal(10_000))
                    await as_tenant(self.database, start_session, caller, request, PAPER, since)

        await asyncio.gather(*(start_of(*each) for each in documents.items()))

    @asynccontextmanager
    async def process(self, role: str, **settings: str) -> AsyncIterator[None]:
        """Run one role of trading as a process, as in production."""
        variables = {name.upper(): value for name, value in {**self.environment, **settings}.items()}
        environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"}
        command = [sys.executable, "-m", "services.trading", "--only", role]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            await process.wait()

    async def seconds_to_fills(self, market: Market, closes: int, sessions: int) -> list[float]:
        """Return the seconds from each published close to each session's fill at the next open.

        A fill's time is that of its INSERT, just before the commit, by the database's clock (this machine's).
        """
        seconds: list[float] = []
        for _ in range(closes):
            began = utc_now()
            opened = from_ms(await market.close_bars() + STEP_MS)
            async with asyncio.timeout(WITHIN_S):
                while len(rows := await self._fills_at(opened)) < sessions:
                    await asyncio.sleep(0.02)
            seconds += [(row["created_at"] - began).total_seconds() for row in rows]
        return seconds

    async def _fills_at(self, opened: object) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.superuser.fetch(
            "SELECT created_at FROM trading.fills WHERE time = $1", opened
        )
        return rows


@asynccontextmanager
async def scene(servers: BenchmarkServers) -> AsyncIterator[Scene]:
    """Open a database of its own, an exchange and a producer, without sessions yet."""
    servers = await servers.create_empty()
    exchange = Exchange()
    server = TestServer(exchange.app())
    await server.start_server()
    environment = {**servers.environment("trading"), "bybit_rest_url": f"http://127.0.0.1:{server.port}"}
    database = await Database.connect(TradingSettings.model_validate(environment))
    producer = Producer(servers.bootstrap, servers.prefix, "trading")
    superuser = await asyncpg.connect(servers.superuser_dsn)
    try:
        yield Scene(database, superuser, environment, producer, exchange)
    finally:
        await superuser.close()
        await producer.discard()
        await database.close()
        await server.close()
