"""Live sessions on trading's own workers, and a sandbox exchange in its own process that the benchmark moves."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from aiohttp import ClientConnectionError

from benchmarks.paper import CONCURRENCY, PAPER, POLL_INTERVAL_S, RESTLESS, WITHIN_S, Scene, scene
from benchmarks.servers import BenchmarkServers
from sandbox.bybit.candles import COLUMNS
from sandbox.bybit.client import SandboxClient, connect
from sandbox.bybit.messages import Json
from services.trading.custody.envelope import SecretRow, seal
from services.trading.custody.key_ring import FileKeyRing, new_ring
from services.trading.custody.queries import insert_secret
from services.trading.exchange.account_facts import Credentials
from services.trading.operations.start_live_session import LiveStart
from services.trading.operations.start_session import StartRequest, start_session
from services.trading.operations.strategies import create_strategy
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.contracts.types import new_id
from shared.strategy.bars import Bar
from stack.migrate import ROOT
from stack.private_files import write_private
from tests.as_tenant import as_tenant
from tests.integration.trading.live import ACCOUNT, NOTHING_THERE
from tests.integration.trading.market import BEFORE, Market
from tests.unit.trading.scenes import INSTRUMENT, STEP_MS, wavy_bars

BARS = 24
BEFORE_CLOSE_MS = 5_000  # to where the exchange's clock jumps before each close
SEEN_S = 1.2  # until workers have seen it
READ_S = 2.5  # until the sessions have read their accounts then
CREATE = "/v5/order/create"
DOCUMENT = {
    **RESTLESS,
    "risk_management": {
        **RESTLESS["risk_management"],  # type: ignore[dict-item]
        "stop_loss": {"type": "percent", "value": "50"},
    },
}
UNSETTLED = """
    SELECT count(*) FROM trading.order_intents
    WHERE state IN ('INTENT', 'SENDING', 'UNKNOWN', 'ACKED', 'PARTIALLY_FILLED')
"""
# Something is demanded of all sessions: they look at their clock. (Only a frozen one looks at the answer.)
WAKE = "UPDATE trading.session_leases SET frozen_answer = CASE WHEN frozen_answer IS NULL THEN 'ignore' END"
HELD = "SELECT worker, count(*) AS sessions FROM trading.session_leases WHERE expires_at > now() GROUP BY worker"


@dataclass
class LiveScene:
    """`users` tenants have an account each, with a session on each symbol. Every session sends an order at every
    close: an entry, an exit, an entry, …"""

    scene: Scene
    sandbox: SandboxClient
    markets: list[Market]
    settings: dict[str, str]
    users: int
    _seq: int = 0
    _links: list[str] = field(default_factory=list)

    @property
    def sessions(self) -> int:
        return self.users * len(self.markets)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[int]:
        """Run a worker; yields its process id."""
        async with self.scene.process("worker", **self.settings) as pid:
            yield pid

    async def until_held(self, workers: int) -> None:
        """Wait until this many workers hold the same number of sessions each."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                held = {row["worker"]: row["sessions"] for row in await self.scene.superuser.fetch(HELD)}
                if len(held) == workers and set(held.values()) == {self.sessions // workers}:
                    return
                await asyncio.sleep(POLL_INTERVAL_S)

    async def close(self) -> float:
        """Close a bar of every series, and open the next. Returns the time of the publication."""
        await self.sandbox.step()
        events = [event for market in self.markets for event in await market.store_next()]
        began = time.time()
        await self.scene.producer.publish(events)
        return began

    async def until_sent(self, orders: int) -> list[float]:
        """Wait for this many further orders; returns when the exchange accepted each."""
        found: list[Json] = []
        async with asyncio.timeout(WITHIN_S):
            while len(found) < orders:
                await asyncio.sleep(10 * POLL_INTERVAL_S)
                found += await self.new_orders()
        return [arrival_of(each) for each in found]

    async def new_orders(self) -> list[Json]:
        """Return the orders that the exchange accepted since the last call."""
        found = await self.sandbox.ledger("request", route=CREATE, outcome=0, since=self._seq)
        if found:
            self._seq = int(str(found[-1]["seq"]))
            self._links += [str(each["orderLinkId"]) for each in found]
        return found

    def check_orders(self) -> None:
        assert len(self._links) == len(set(self._links)), "an intent has more than one order"

    async def until_flat(self) -> None:
        """Wait until no order is under way and no account has a position."""
        async with asyncio.timeout(WITHIN_S):
            while await self.scene.superuser.fetchval(UNSETTLED) or await self._positions():
                await asyncio.sleep(20 * POLL_INTERVAL_S)

    async def _positions(self) -> int:
        accounts = await self.sandbox.control("GET", "accounts")
        assert isinstance(accounts, list), "the sandbox lists accounts"
        return sum(bool(account["positions"]) for account in accounts)

    async def settle(self) -> None:
        """Wait until all orders are filled; then let the time shortly before the next close come, at which sessions
        read their accounts."""
        async with asyncio.timeout(WITHIN_S):
            while await self.scene.superuser.fetchval(UNSETTLED):
                await asyncio.sleep(10 * POLL_INTERVAL_S)
        await self.sandbox.step()
        await asyncio.sleep(SEEN_S)
        await self.scene.superuser.execute(WAKE)
        await asyncio.sleep(READ_S)


def arrival_of(order: Json) -> float:
    return int(str(order["wall_ms"])) / 1000


@asynccontextmanager
async def live_scene(servers: BenchmarkServers, users: int, symbols: int) -> AsyncIterator[LiveScene]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        bars = {f"COIN{number}USDT": wavy_bars(BARS, seed=number) for number in range(symbols)}
        async with scene(servers) as world, _sandbox(folder, bars) as sandbox:
            settings = {
                "bybit_rest_url": sandbox.url,
                "bybit_ws_url": f"{sandbox.stream_url}/v5/public/linear",
                "exchange_requests": "500000",
                "exchange_keys_file": str(folder / "ring.json"),
            }
            write_private(folder / "ring.json", new_ring(utc_now()).to_json())
            await world.subscribe(users)
            await sandbox.step()
            live = LiveScene(world, sandbox, [], settings, users)
            await _start_sessions(live, list(bars), FileKeyRing(folder / "ring.json"))
            live.markets += [await world.market(symbol, each) for symbol, each in bars.items()]
            yield live


@asynccontextmanager
async def _sandbox(folder: Path, bars: Mapping[str, Sequence[Bar]]) -> AsyncIterator[SandboxClient]:
    """Run a sandbox. The bars of one more symbol, on which nothing trades, move its clock before each close."""
    of_clock = [bar._replace(open_time_ms=bar.open_time_ms + STEP_MS - BEFORE_CLOSE_MS) for bar in wavy_bars(BARS)]
    arguments = []
    for symbol, each in {**bars, "CLOCKUSDT": of_clock}.items():
        lines = [",".join(map(str, row)) for row in (COLUMNS, *each)]
        (folder / symbol).write_text("\n".join(lines))
        arguments.append(f"--candles={symbol}={folder / symbol}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sandbox.bybit", f"--port={port}", "--limits-factor=1000", *arguments]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        async with connect(f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(WITHIN_S):
                while not await _answers(client):
                    await asyncio.sleep(10 * POLL_INTERVAL_S)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def _answers(client: SandboxClient) -> bool:
    try:
        await client.state()
    except ClientConnectionError:
        return False
    return True


async def _start_sessions(live: LiveScene, symbols: Sequence[str], ring: FileKeyRing) -> None:
    await live.scene.superuser.execute("SET search_path = trading")
    accounts = {user_id: await _add_account(live, user_id, ring) for user_id in range(1, live.users + 1)}
    slots = asyncio.Semaphore(CONCURRENCY)

    async def start_of(user_id: int, account_id: UUID) -> None:
        async with slots:
            database = live.scene.database
            strategy = await as_tenant(database, create_strategy, user_id, DOCUMENT)
            caller = Principal(user_id, UUID(int=user_id), frozenset(), None)
            for symbol in symbols:
                request = StartRequest(
                    strategy.strategy_id, None, None, symbol, "LIVE", Decimal(10_000), None, account_id
                )
                start = LiveStart(account_id, NOTHING_THERE)
                await as_tenant(database, start_session, caller, request, PAPER, BEFORE, INSTRUMENT, start)

    await asyncio.gather(*(start_of(*each) for each in accounts.items()))


async def _add_account(live: LiveScene, user_id: int, ring: FileKeyRing) -> UUID:
    opened = await live.sandbox.open_account(balance="1000000")
    row = SecretRow(user_id, new_id(), 1)
    await live.scene.superuser.execute(ACCOUNT, user_id, row.exchange_account_id, opened.uid, "SANDBOX", "READY")
    sealed = await seal(ring, row, Credentials(opened.api_key, opened.api_secret))
    async with live.scene.database.tenant(user_id) as connection:
        await insert_secret(connection, row, sealed)
    return row.exchange_account_id
