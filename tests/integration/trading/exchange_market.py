"""Live sessions on the sandbox exchange: the test moves the exchange and the feed in step with a worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, cast
from uuid import UUID

from prometheus_client import REGISTRY

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.messages import Json
from sandbox.bybit.replay import Candle
from sandbox.bybit.replay import Market as Replay
from sandbox.bybit.server import Options
from services.trading.bybit_api import MarketApi
from services.trading.connected_accounts import OpenedAccount
from services.trading.custody.envelope import SecretRow, seal
from services.trading.custody.key_ring import FileKeyRing
from services.trading.custody.queries import insert_secret
from services.trading.errors import KeyUnavailable
from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.environments import Environments
from services.trading.exchange.exchange import Exchange, TradingAccount
from services.trading.exchange.stored_budgets import StoredBudgets
from services.trading.operations.stop_session import stop_session
from services.trading.queries.sessions import SessionRow
from services.trading.queries.trades import list_session_fills
from services.trading.venue_clock import VenueClock
from services.trading.worker.exchange_sessions import ExchangeSessions
from services.trading.worker.worker import Worker
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Terms
from shared.strategy.document.parse import parse_strategy
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.live import add_account, start_live
from tests.integration.trading.market import BEFORE, Market
from tests.unit.trading.scenes import CROSS, INSTRUMENT

OPEN = ("New", "PartiallyFilled", "Untriggered")
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


class Sessions(NamedTuple):
    """How many live sessions a worker runs, and how many of them have something to do."""

    running: float
    busy: float


async def sessions_here() -> Sessions:
    """Return those of the last worker that was started in this process."""
    names = ("trading_live_sessions_running", "trading_live_sessions_busy")
    return Sessions(*(REGISTRY.get_sample_value(name) or 0 for name in names))


@dataclass
class Accounts:
    """Opens the sandbox's accounts, in place of custody. `outages`: how often the key ring cannot be read first."""

    sandbox: SandboxAccount
    outages: int = 0

    async def open(self, user_id: int, account_id: UUID) -> OpenedAccount:
        if self.outages:
            self.outages -= 1
            raise KeyUnavailable("an outage of the test")
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
    bars: Sequence[Bar]
    sessions: Callable[[], Awaitable[Sessions]] = sessions_here
    outages: int = 0  # of the key ring, when a worker starts
    within_s: float = 25  # the exchange and the worker agree
    misses_executions: bool = False  # within a bar, because the stream is silent

    async def start(self, user_id: int = 1, tolerance_ticks: int | None = None, **document: object) -> SessionRow:
        caller = await self.trading.subscribe(user_id)
        account_id = await add_account(self.trading, user_id, self.account.uid)
        await self._store_key(SecretRow(user_id, account_id, 1))
        strategy_id = await self.trading.strategy(user_id, {**CROSS, **document})
        return await start_live(
            self.trading, caller, account_id, strategy_id=strategy_id, tolerance_ticks=tolerance_ticks
        )

    async def _store_key(self, row: SecretRow) -> None:
        """For workers in processes of their own."""
        ring = FileKeyRing(self.trading.settings.exchange_keys_file)
        secret = await seal(ring, row, Credentials(self.account.api_key, self.account.api_secret))
        async with self.trading.database.tenant(row.user_id) as connection:
            await insert_secret(connection, row, secret)

    def make_worker(self, kind: type[Worker] = Worker) -> Worker:
        database = self.trading.database

        def open_exchange() -> ExchangeSessions:
            accounts = Accounts(self.account, self.outages)
            return ExchangeSessions(database, accounts, self.exchange, self.clock)  # type: ignore[arg-type]

        return kind(database, self.trading.settings, self.clock, open_exchange=open_exchange)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        stop = asyncio.Event()
        worker = self.make_worker()
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
        """Wait until a worker runs the session and has nothing to do, and no row of the query is left."""

        async def look() -> list[object]:
            waiting: list[object] = [dict(row) for row in await self.trading.fetch(query)]
            if not (self.misses_executions and query == UNFINISHED):
                on_exchange = await self.sandbox.ledger("execution", uid=self.account.uid)
                booked = await self.trading.fetch("SELECT DISTINCT execution_id FROM executions")
                if len(on_exchange) != len(booked):
                    waiting.append(f"{len(on_exchange)} executions, {len(booked)} booked")
            if (sessions := await self.sessions()) != Sessions(1, 0):
                waiting.append(sessions)
            return waiting

        await eventually(look, lambda waiting: not waiting, self.within_s)

    async def finish(self, session_id: UUID, *, was_restored: bool = False) -> None:
        """Stop the session, the only one, at the end of the data. Its fills must be those of the backtest; each
        intent has at most one order, each execution is booked once, and nothing is open. `was_restored`: its
        database has lost orders."""
        trading, uid = self.trading, self.account.uid
        await as_tenant(trading.database, stop_session, 1, session_id, "end_of_data", BEFORE)
        await trading.until("SELECT FROM user_trading_sessions WHERE status = 'STOPPED'")
        (ended,) = await trading.fetch("SELECT fingerprint FROM user_trading_sessions")
        fills = await as_tenant(trading.database, list_session_fills, 1, session_id)
        expected = run_backtest(parse_strategy(CROSS), self.bars, Terms(INSTRUMENT))
        assert [fill[:7] for fill in fills] == [fill[:7] for fill in expected.fills]
        assert ended["fingerprint"] == expected.fingerprint

        orders = await self.sandbox.ledger("order", uid=uid)
        links = {str(order["order_id"]): str(order["order_link_id"]) for order in orders if order["order_link_id"]}
        assert len(links) == len(set(links.values())), "an intent has more than one order"
        sent = await trading.fetch("SELECT link_id FROM order_intents WHERE sent_at IS NOT NULL")
        assert was_restored or set(links.values()) <= {row["link_id"] for row in sent}

        executed = await self.sandbox.ledger("execution", uid=uid)
        booked = await trading.fetch("SELECT execution_id, sum(part) AS part FROM executions GROUP BY execution_id")
        assert {row["execution_id"]: row["part"] for row in booked} == {
            str(each["exec_id"]): Decimal(str(each["exec_qty"])) for each in executed
        }
        assert await self.open_on_exchange() == ([], [])

    async def open_on_exchange(self) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Return the account's positions and open orders."""
        query = {"category": "linear", "settleCoin": "USDT"}
        positions = await self.sandbox.get(self.account, "/v5/position/list", **query)
        orders = await self.sandbox.get(self.account, "/v5/order/realtime", openOnly=0, **query)
        held = [row for row in _rows(positions) if Decimal(row["size"])]
        return held, [
            row for row in _rows(orders) if row["orderStatus"] in ("New", "PartiallyFilled", "Untriggered")
        ]


def _rows(answer: Json) -> list[dict[str, str]]:
    return cast("dict[str, list[dict[str, str]]]", answer["result"])["list"]


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
            yield ExchangeMarket(trading, sandbox, account, feed, VenueClock(api), exchange, bars)
        finally:
            await exchange.close()
            api.close()
