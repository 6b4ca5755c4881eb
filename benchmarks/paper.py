"""Paper sessions on trading's own processes, and a market that the benchmark advances bar by bar."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
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
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Database
from shared.strategy.bars import Bar
from stack.migrate import ROOT
from tests.as_tenant import as_tenant
from tests.integration.trading.market import BEFORE, Exchange, Market
from tests.unit.trading.scenes import INTERVAL

WITHIN_S = 240.0
POLL_INTERVAL_S = 0.005
CONCURRENCY = 8
COPY_SESSIONS = """
    WITH copied AS (
        INSERT INTO trading.user_trading_sessions
        SELECT copy.* FROM trading.user_trading_sessions AS s, unnest($1::text[]) AS other, LATERAL
            jsonb_populate_record(s, jsonb_build_object('session_id', uuidv7(), 'symbol', other)) AS copy
        RETURNING user_id, session_id
    ), leased AS (
        INSERT INTO trading.session_leases (user_id, session_id) SELECT * FROM copied
    )
    INSERT INTO trading.session_cursors (user_id, session_id) SELECT * FROM copied
"""
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

    async def market(self, symbol: str, bars: Sequence[Bar]) -> Market:
        """Create a market whose first bar is open."""
        self.exchange.symbols.add(symbol)
        market = Market(self.database, self.producer, symbol, bars)
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
        self,
        documents: Mapping[int, Mapping[str, object]],
        symbol: str,
        *more_symbols: str,
        since: datetime = BEFORE,
    ) -> None:
        """Start each user's strategy on each symbol, from `since` on; earlier stored bars are its history.

        The sessions on further symbols are copies of those on the first: starting thousands takes minutes.
        """
        slots = asyncio.Semaphore(CONCURRENCY)

        async def start_of(user_id: int, document: Mapping[str, object]) -> None:
            async with slots:
                strategy = await as_tenant(self.database, create_strategy, user_id, document)
                caller = Principal(user_id, UUID(int=user_id), frozenset(), None)
                request = StartRequest(strategy.strategy_id, None, None, symbol, "PAPER", Decimal(10_000))
                await as_tenant(self.database, start_session, caller, request, PAPER, since)

        await asyncio.gather(*(start_of(*each) for each in documents.items()))
        await self.superuser.execute(COPY_SESSIONS, more_symbols)

    @asynccontextmanager
    async def process(self, role: str, **settings: str) -> AsyncIterator[int]:
        """Run one role of trading as a process, as in production; yields its process id."""
        variables = {name.upper(): value for name, value in {**self.environment, **settings}.items()}
        environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"}
        command = [sys.executable, "-m", "services.trading", "--only", role]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
        try:
            yield process.pid
        finally:
            with suppress(ProcessLookupError):  # the benchmark has killed it
                process.terminate()
            await process.wait()

    async def seconds_to_fills(self, market: Market, closes: int, sessions: int) -> list[float]:
        """Return the seconds from each published close until each session's fill at the next open is committed."""
        seconds: list[float] = []
        filled = await self.count_fills()
        for _ in range(closes):
            events = await market.store_next()
            began = time.perf_counter()
            await self.producer.publish(events)
            target = filled + sessions
            async with asyncio.timeout(WITHIN_S):
                while filled < target:
                    await asyncio.sleep(POLL_INTERVAL_S)
                    seen = await self.count_fills()
                    seconds += [time.perf_counter() - began] * (seen - filled)
                    filled = seen
        return seconds

    async def count_fills(self) -> int:
        counted: int = await self.superuser.fetchval("SELECT sum(fill_count) FROM trading.user_trading_sessions")
        return counted

    async def until_loaded(self) -> None:
        """Wait until the worker has loaded every session. Each that joins after a close catches up by itself."""
        await self._until_none("trading.user_trading_sessions WHERE generation IS NULL")

    async def until_stepped(self, last_bar: datetime) -> None:
        """Wait until every session has processed this bar."""
        await self._until_none("trading.session_cursors WHERE last_bar IS DISTINCT FROM $1", last_bar)

    async def _until_none(self, rows: str, *arguments: object) -> None:
        async with asyncio.timeout(WITHIN_S):
            while await self.superuser.fetchval(f"SELECT EXISTS (SELECT FROM {rows})", *arguments):
                await asyncio.sleep(POLL_INTERVAL_S)


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
