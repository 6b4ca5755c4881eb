"""Backtests on the real database: requested over HTTP, calculated by workers here or in processes of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

import psutil
import pytest

from services.trading.app import build
from services.trading.backtests.calculator import COMMAND
from services.trading.backtests.worker import BacktestWorker
from services.trading.bybit_api import VENUE
from services.trading.consumers import on_subscription_changed
from services.trading.feed import queries
from services.trading.feed.queries import StoredCandle
from services.trading.queries.candles import upsert_instrument
from shared.chassis.service import RunningService
from shared.contracts.billing import SubscriptionChanged
from shared.contracts.types import from_ms, instant_text
from shared.strategy.bars import Bar
from shared.testing.api_client import Answer, ApiClient, Json, open_client
from shared.testing.tokens import TokenIssuer, serve_tokens
from stack.migrate import ROOT, DatabaseAccess
from tests.integration.accounts import eventually
from tests.integration.trading.callers import Caller
from tests.integration.trading.conftest import ServiceEnv, Trading, exchange, trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import INSTRUMENT, INTERVAL, START_MS, STEP_MS, wavy_bars

__all__ = ["exchange", "trading"]  # fixtures

BARS = 300
MAX_BARS = 500  # of one backtest
ENDED = ("DONE", "FAILED", "CANCELLED")
NO_LIMITS: Json = {
    "max_trades_per_month": None,
    "max_active_strategies": None,
    "max_symbols": None,
    "daily_api_requests": None,
}
NO_FEATURES: Json = {
    "advanced_ai": False,
    "api_access": False,
    "telegram_alerts": False,
    "priority_support": False,
}


def at(index: int) -> str:
    """Return the open time of the bar with this index."""
    return instant_text(from_ms(START_MS + index * STEP_MS))


@dataclass
class Person(Caller):
    user_id: int = 0
    strategy_id: str = ""

    async def request_backtest(self, **changes: object) -> Answer:
        if not self.strategy_id:
            self.strategy_id = await self.make_strategy()
        body = {"strategy_id": self.strategy_id, "symbol": "BTCUSDT", "from": at(0), "to": at(BARS)}
        return await self.call("POST", "/v1/backtests", {**body, **changes})

    async def queue_backtest(self, **changes: object) -> str:
        """Request a backtest that must be accepted; returns its path."""
        answer = await self.request_backtest(**changes)
        assert answer.status == 202, answer.body
        return answer.headers["Location"]

    async def get(self, path: str) -> Json:
        return await self.must("GET", path)

    async def until(self, path: str, *statuses: str, within_s: float = 150) -> Json:
        return await eventually(lambda: self.get(path), lambda seen: seen["status"] in statuses, within_s)

    async def until_ended(self, path: str) -> Json:
        return await self.until(path, *ENDED)


@dataclass
class Scene:
    trading: Trading
    client: ApiClient
    tokens: TokenIssuer
    env: Mapping[str, str]
    database: str
    started: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def person(self, user_id: int = 1, *, max_per_day: int | None = None, feature: bool = True) -> Person:
        public_id = UUID(int=user_id)
        version = self.trading.versions[user_id] = self.trading.versions.get(user_id, 0) + 1
        event: Json = {
            "user_id": user_id,
            "public_id": public_id,
            "aggregate": "subscription",
            "aggregate_seq": version,
            "subscription_version": version,
            "plan": "PREMIUM",
            "status": "ACTIVE",
            "limits": {**NO_LIMITS, "max_backtests_per_day": max_per_day},
            "features": {**NO_FEATURES, "backtesting": feature},
            "period_start": BEFORE,
            "period_end": None,
            "previous_plan": None,
            "reason": "test",
        }
        async with self.trading.database.tenants([user_id]) as connection:
            await on_subscription_changed(connection, [SubscriptionChanged.model_validate(event)])
        token = self.tokens.make_token(public_id)
        return Person(self.client.url, self.client.http, token, user_id=user_id)

    async def store(self, bars: Sequence[Bar], symbol: str = "BTCUSDT") -> None:
        """Store bars as the feed stores history."""
        async with self.trading.database.tenants(()) as connection:
            await upsert_instrument(connection, VENUE, symbol, INSTRUMENT)
            *_, series = await queries.get_or_create_generations(connection, symbol, INTERVAL)
            candles = [StoredCandle(bar, None) for bar in bars]
            await queries.insert_candles(connection, series.series_id, candles, "HISTORY")

    @asynccontextmanager
    async def worker(self, command: Sequence[str] = COMMAND) -> AsyncIterator[None]:
        """Run a worker in this process; it is stopped on exit."""
        stop = asyncio.Event()
        task = asyncio.create_task(BacktestWorker(self.trading.database, 1, command).run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def process(self, *module: str) -> asyncio.subprocess.Process:
        """Start a Python module as a process, which is killed at the end of the test."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.env}
        command = [sys.executable, "-m", *module]
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        self.started.append(process)
        return process


def calculation_processes(parent: int) -> list[psutil.Process]:
    """Return the child processes of `parent` that calculate backtests."""
    return [each for each in psutil.Process(parent).children() if _is_calculation(each)]


def _is_calculation(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        command = " ".join(process.cmdline())
        return ("-c" in command and "progress" in command) or "backtests.calculation" in command
    return False


@pytest.fixture
async def scene(trading: Trading, service_env: ServiceEnv, database_access: DatabaseAccess) -> AsyncIterator[Scene]:
    """Trading over HTTP with bars of BTCUSDT, without a backtest worker."""
    async with serve_tokens() as tokens:
        settings = trading.settings.model_copy(update={"jwks_url": tokens.jwks_url, "backtest_most_bars": MAX_BARS})
        async with RunningService(build, settings, {"http"}) as running, open_client(running.url) as client:
            scene = Scene(trading, client, tokens, service_env("trading"), database_access.name)
            await scene.store(wavy_bars(BARS))
            yield scene
            for process in scene.started:
                if process.returncode is None:
                    process.kill()
                await process.wait()
