"""Live sessions on the sandbox exchange: the test moves the exchange and the feed in step with a worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.replay import Candle
from sandbox.bybit.replay import Market as Replay
from sandbox.bybit.server import Options
from services.trading.bybit_api import MarketApi
from services.trading.connected_accounts import OpenedAccount
from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.environments import Environments
from services.trading.exchange.exchange import Exchange, TradingAccount
from services.trading.exchange.stored_budgets import StoredBudgets
from services.trading.queries.sessions import SessionRow
from services.trading.venue_clock import VenueClock
from services.trading.worker.exchange_sessions import ExchangeSessions
from services.trading.worker.worker import Worker
from shared.strategy.bars import Bar
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.live import add_account, start_live
from tests.integration.trading.market import Market
from tests.unit.trading.scenes import CROSS

UNFINISHED = """
    SELECT link_id, leg, state FROM order_intents
    WHERE state IN ('INTENT', 'SENDING', 'UNKNOWN') OR (state IN ('ACKED', 'PARTIALLY_FILLED') AND price IS NULL)
"""
# An entry that reverses a position waits until the exit has filled.
AWAITED = """
    SELECT link_id, leg, state FROM order_intents AS i
    WHERE state IN ('INTENT', 'SENDING', 'UNKNOWN') AND NOT (leg = 'entry' AND state = 'INTENT' AND EXISTS (
        SELECT FROM order_intents AS e WHERE e.session_id = i.session_id AND e.leg = 'exit' AND e.state = 'ACKED'))
"""


@dataclass
class Accounts:
    """Opens the sandbox's accounts, in place of custody."""

    sandbox: SandboxAccount

    async def open(self, user_id: int, account_id: UUID) -> OpenedAccount:
        credentials = Credentials(self.sandbox.api_key, self.sandbox.api_secret)
        return OpenedAccount(TradingAccount(user_id, self.sandbox.uid, "SANDBOX", "GLOBAL", credentials), 1)


@dataclass
class ExchangeMarket:
    trading: Trading
    sandbox: SandboxClient
    account: SandboxAccount
    feed: Market
    clock: VenueClock
    exchange: Exchange
    running: list[ExchangeSessions] = field(default_factory=list)

    async def start(self, user_id: int = 1, **document: object) -> SessionRow:
        caller = await self.trading.subscribe(user_id)
        account_id = await add_account(self.trading, user_id, self.account.uid)
        strategy_id = await self.trading.strategy(user_id, {**CROSS, **document})
        return await start_live(self.trading, caller, account_id, strategy_id=strategy_id)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        stop = asyncio.Event()
        database = self.trading.database

        def open_exchange() -> ExchangeSessions:
            opened = ExchangeSessions(database, Accounts(self.account), self.exchange, self.clock)  # type: ignore[arg-type]
            self.running.append(opened)
            return opened

        worker = Worker(database, self.trading.settings, self.clock, open_exchange=open_exchange)
        tasks = [asyncio.create_task(worker.run(stop)), asyncio.create_task(self.clock.follow(stop, 0.2, 0.2))]
        try:
            yield worker
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def play(self, bars: int) -> None:
        """Play this many bars: the open, then the rest of the bar and its close."""
        if not self.feed.closed:
            await self.sandbox.step()  # to the time of the first open
        for _ in range(bars):
            await self.sandbox.step()
            await self.until_settled(UNFINISHED)
            await self.sandbox.step()
            await self.until_settled(UNFINISHED)
            await self.feed.close_bars(1)
            await self.trading.until_stepped(self.feed.last_closed_ms, 60)
            await self.until_settled(AWAITED)

    async def until_settled(self, query: str) -> None:
        async def look() -> list[object]:
            on_exchange = await self.sandbox.ledger("execution", uid=self.account.uid)
            booked = await self.trading.fetch("SELECT DISTINCT execution_id FROM executions")
            waiting: list[object] = [dict(row) for row in await self.trading.fetch(query)]
            if len(on_exchange) != len(booked):
                waiting.append(f"{len(on_exchange)} executions, {len(booked)} booked")
            if any(each.busy for each in self.running):
                waiting.append("busy")
            return waiting

        await eventually(look, lambda waiting: not waiting, 25)


def to_candle(bar: Bar) -> Candle:
    return Candle(bar.open_time_ms, *(format(value, "f") for value in bar[1:]))


@asynccontextmanager
async def exchange_market(trading: Trading, bars: Sequence[Bar]) -> AsyncIterator[ExchangeMarket]:
    replay = Replay({"BTCUSDT": [to_candle(bar) for bar in bars]}, "15", two_phase=True)
    async with serve(replay, options=Options(limits_factor=100)) as sandbox:
        account = await sandbox.open_account(balance="1000000")
        api = MarketApi(sandbox.url)
        environments = Environments(False, sandbox.url, f"{sandbox.stream_url}/v5/public/linear")
        exchange = Exchange(StoredBudgets(trading.database), environments, "test", 5_000)
        feed = await trading.market(bars)
        try:
            yield ExchangeMarket(trading, sandbox, account, feed, VenueClock(api), exchange)
        finally:
            await exchange.close()
            api.close()
