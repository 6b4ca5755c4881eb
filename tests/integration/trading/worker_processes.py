"""Workers on the sandbox exchange, each in a process of its own, that die or freeze at crash points."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from faults.crash_points import PointsFolder
from tests.integration.accounts import eventually
from tests.integration.trading.exchange_market import ExchangeMarket, Sessions

EXPIRE = "UPDATE session_leases SET expires_at = now() - interval '1 second' WHERE worker IS NOT NULL"
NONE = Sessions(0, 0)


@dataclass(eq=False)
class WorkerProcess:
    name: str
    port: int
    process: Process
    is_frozen: bool = False

    async def sessions(self, http: aiohttp.ClientSession) -> Sessions:
        """Return what its metrics show; none while it does not answer."""
        if self.is_frozen:
            return NONE
        try:
            async with http.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        except (aiohttp.ClientError, TimeoutError):
            return NONE
        values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("trading_live_sessions"))
        return Sessions(*(float(values.get(f"trading_live_sessions_{name}", 0)) for name in Sessions._fields))


@dataclass
class WorkerProcesses:
    market: ExchangeMarket
    env: Mapping[str, str]
    points: PointsFolder
    http: aiohttp.ClientSession
    all: list[WorkerProcess] = field(default_factory=list)

    async def start(self) -> WorkerProcess:
        name, port = f"worker{len(self.all)}", _free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.trading", "--only", "worker"),
            env={**os.environ, **self.env, "HTTP_PORT": str(port), "PROCESS_NAME": name},
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        self.all.append(WorkerProcess(name, port, process))
        return self.all[-1]

    async def strike(self, point: str, action: str, nth: int) -> WorkerProcess:
        """Start a worker, let it die or freeze at the nth hit of a crash point, and take its leases from it."""
        worker = await self.start()
        self.points.arm(worker.name, point, action, nth)

        async def is_armed() -> bool:
            return self.points.is_armed(worker.name)

        await eventually(is_armed, lambda armed: not armed, 40)
        if action == "KILL":
            await worker.process.wait()
        else:
            worker.is_frozen = True
        await self.market.trading.fetch(EXPIRE)
        return worker

    async def wake(self, worker: WorkerProcess) -> None:
        """Let a frozen worker continue until it has noticed that it has lost its session, and end it."""
        worker.process.send_signal(signal.SIGCONT)
        worker.is_frozen = False
        await eventually(lambda: worker.sessions(self.http), lambda sessions: sessions == NONE)
        worker.process.kill()
        await worker.process.wait()

    async def sessions(self) -> Sessions:
        each = await asyncio.gather(*(worker.sessions(self.http) for worker in self.all))
        return Sessions(sum(one.running for one in each), sum(one.busy for one in each))


@asynccontextmanager
async def worker_processes(
    market: ExchangeMarket, env: Mapping[str, str], folder: Path
) -> AsyncIterator[WorkerProcesses]:
    of_exchange = {
        "BYBIT_REST_URL": market.sandbox.url,
        "BYBIT_WS_URL": f"{market.sandbox.stream_url}/v5/public/linear",
        "EXCHANGE_REQUESTS": "5000",
        "FAULT_POINTS": str(folder),
    }
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as http:
        workers = WorkerProcesses(market, {**env, **of_exchange}, PointsFolder(folder), http)
        market.sessions, market.within_s = workers.sessions, 60  # several may have to start meanwhile
        try:
            yield workers
        finally:
            for worker in workers.all:
                if worker.process.returncode is None:
                    worker.process.kill()
                    await worker.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
