"""Injects the planned faults and heals them."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import asyncpg

from faults import provoke
from faults.crash_points import PointsFolder
from faults.exchange_faults import EXCHANGE_FAULTS, FaultyExchange
from faults.kinds import InjectedFault
from faults.plan import FaultRound
from faults.proxy import Proxy, Weather
from stack.health import is_healthy
from stack.stack import Stack

ORDERS_WITHIN_S = 40.0  # orders are rarer, and none are sent while a worker is replaced
REACHED_WITHIN_S = 12.0  # an armed process that does not reach its point in this time is disarmed
RECOVERED_WITHIN_S = 60.0
POLL_INTERVAL_S = 0.02
TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'tradefleet-%'
"""


@dataclass
class Tally:
    """Counts of injected faults. A kill counts for a point if it hit the process there or before the next point."""

    injected: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)  # strikes whose process did not reach the point
    kills_at: Counter[str] = field(default_factory=Counter)
    freezes_at: Counter[str] = field(default_factory=Counter)
    kills_at_rest: int = 0
    outages_s: dict[str, list[float]] = field(default_factory=dict)  # from the crash to the first answer
    stuck: list[str] = field(default_factory=list)  # faults that did not end in time
    poisoned: dict[str, str] = field(default_factory=dict)  # event id → why the event was not handled

    @property
    def kills(self) -> int:
        """Kills of processes that had work in flight."""
        return self.kills_at.total()

    @property
    def strikes(self) -> Counter[str]:
        return self.kills_at + self.freezes_at


class Injector:
    """`inject` returns when all faults of a round are over. `heal` removes every fault that may remain."""

    def __init__(self, stack: Stack, proxies: Mapping[str, Proxy], points: PointsFolder) -> None:
        self._stack = stack
        self._proxies = proxies
        self._points = points
        self._exchange = FaultyExchange(stack.sandbox)
        self.tally = Tally()

    async def inject(self, fault_round: FaultRound) -> None:
        async with asyncio.TaskGroup() as group:
            for fault in fault_round.faults:
                group.create_task(self._inject(fault))

    async def heal(self) -> None:
        """Reset the proxies, disarm and resume all processes, and repair provoked failures and the exchange."""
        for proxy in self._proxies.values():
            proxy.change(Weather())
        for part in self._stack.service_processes:
            self._points.disarm(part.name)
            if (pid := self._stack.pid(part.name)) is not None:
                _signal(pid, signal.SIGCONT)
        await provoke.heal(self._stack.superuser_dsn)
        await self._exchange.heal()

    async def _inject(self, fault: InjectedFault) -> None:
        await asyncio.sleep(fault.after_s)
        try:
            await self._do(fault)
        except TimeoutError as error:
            self.tally.stuck.append(f"{fault}: {error or f'not recovered within {RECOVERED_WITHIN_S:.0f} s'}")
        self.tally.injected[_name(fault)] += 1

    async def _do(self, fault: InjectedFault) -> None:
        match fault.kind:
            case "strike":
                await self._strike(fault)
            case "kill":
                await self._kill(fault)
            case "freeze":
                await self._freeze(fault)
            case "crash_postgres":
                await self._crash("postgres", signal.SIGQUIT, self._stack.superuser_dsn)
            case "crash_kafka":
                await self._crash("kafka", signal.SIGKILL, self._stack.health["kafka"])
            case "terminate_backends":
                await self._terminate_backends()
            case "weather":
                await self._weather(fault)
            case "exchange":
                await self._fail_exchange(fault)
            case "poison":
                event_id = await provoke.publish_poison(self._stack.superuser_dsn, fault.target, fault.poison)
                self.tally.poisoned[event_id] = f"{fault}"

    async def _strike(self, fault: InjectedFault) -> None:
        async with AsyncExitStack() as provocations:
            if fault.point == "billing.deadline_due":
                await provoke.end_a_trial(self._stack.superuser_dsn)
            if fault.point.startswith("parked."):
                await provocations.enter_async_context(provoke.failing_trades(self._stack.superuser_dsn))
            self._points.arm(fault.target, fault.point, fault.action, fault.nth)
        if not await self._has_fired(fault):
            self.tally.missed[fault.point] += 1
        elif fault.action == "KILL":
            self.tally.kills_at[fault.point] += 1
        else:
            self.tally.freezes_at[fault.point] += 1
            await self._wake(fault)

    async def _has_fired(self, fault: InjectedFault) -> bool:
        process = fault.target
        try:
            async with asyncio.timeout(ORDERS_WITHIN_S if fault.point.startswith("orders.") else REACHED_WITHIN_S):
                while self._points.is_armed(process):
                    await asyncio.sleep(POLL_INTERVAL_S)
        except TimeoutError:
            return not self._points.disarm(process)
        return True

    async def _wake(self, fault: InjectedFault) -> None:
        pid = self._stack.pid(fault.target)
        await asyncio.sleep(fault.lasts_s)
        if pid is not None:
            _signal(pid, signal.SIGCONT)

    async def _kill(self, fault: InjectedFault) -> None:
        pid = self._stack.pid(fault.target)
        if pid is None:
            return
        _signal(pid, signal.SIGKILL)
        if point := self._points.in_flight(fault.target, pid):
            self.tally.kills_at[point] += 1
        else:
            self.tally.kills_at_rest += 1

    async def _freeze(self, fault: InjectedFault) -> None:
        if (pid := self._stack.pid(fault.target)) is not None:
            _signal(pid, signal.SIGSTOP)
            await self._wake(fault)

    async def _crash(self, name: str, number: signal.Signals, health: str) -> None:
        """Kill a server and wait until it answers again. The stack restarts it."""
        began = time.monotonic()
        pid = self._stack.pid(name)
        await self._stack.kill(name, number)
        async with asyncio.timeout(RECOVERED_WITHIN_S):
            while self._stack.pid(name) in (pid, None) or not await is_healthy(health):
                await asyncio.sleep(POLL_INTERVAL_S)
        self.tally.outages_s.setdefault(name, []).append(round(time.monotonic() - began, 1))

    async def _fail_exchange(self, fault: InjectedFault) -> None:
        demand = EXCHANGE_FAULTS[fault.target]
        await self._exchange.begin(demand)
        await asyncio.sleep(fault.lasts_s)
        await self._exchange.end(demand)

    async def _terminate_backends(self) -> None:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection = await asyncpg.connect(self._stack.superuser_dsn)
            try:
                await connection.fetchval(TERMINATE)
            finally:
                await connection.close()

    async def _weather(self, fault: InjectedFault) -> None:
        self._proxies[fault.target].change(Weather(fault.weather, fault.delay_s))
        await asyncio.sleep(fault.lasts_s)
        self._proxies[fault.target].change(Weather())


def _name(fault: InjectedFault) -> str:
    """Return the name of the fault in the report's table."""
    if fault.kind == "strike":
        return f"{fault.action} at a point"
    if fault.kind == "weather":
        return f"{fault.weather} before {fault.target}"
    if fault.kind == "exchange":
        return f"exchange: {fault.target}"
    return fault.kind.replace("_", " ")


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
