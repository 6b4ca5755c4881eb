"""Runs the platform under faults from start to end."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeAlias

from rich.console import Console

from faults.checker import check
from faults.client import CALL_TIMEOUT_S
from faults.crash_points import PointsFolder
from faults.evidence import EXPLAINED, Evidence, dump_exchange, dump_topics
from faults.exchange_faults import FaultyExchange
from faults.injector import Injector
from faults.load import Load
from faults.market import Market
from faults.plan import plan, points_of
from faults.proxy import Proxy
from faults.report import FaultReport
from faults.screen import RunProgress, Screen
from faults.settle import SettledState, is_trading, settle
from shared.testing.api_client import open_client
from stack.billing_database import grant
from stack.kafka import ProxyRoute
from stack.migrate import SERVICES
from stack.stack import Stack, StackOptions

TENANTS = 4
CONNECTIONS = 32
ANSWERED_WITHIN_S = 60.0
# After the faults of a round: a worker that was replaced trades again, and meets the faults of the exchange.
EXECUTIONS_A_ROUND = 8
TRADING_S = 20.0

StartProxies: TypeAlias = Callable[[Sequence[ProxyRoute]], Awaitable[None]]


@dataclass(frozen=True)
class FaultOptions:
    """Rounds are drawn until there are `rounds` of them, or until `minutes` have passed."""

    seed: int
    families: Sequence[str]
    rounds: int | None
    minutes: float | None
    strikes: int


class Run:
    """One fault run."""

    def __init__(self, options: FaultOptions, home: Path, console: Console) -> None:
        self._options = options
        self._home = home.absolute()
        self._console = console
        self._progress = RunProgress()

    async def run(self) -> FaultReport:
        """Start the stack, load it, inject faults, heal, check and stop it. Returns the report."""
        began = time.monotonic()
        async with AsyncExitStack() as opened:
            self._proxies: dict[str, Proxy] = {}
            self._points = PointsFolder(self._home / "points")
            market = Market(self._home / "market", self._options.seed)

            async def start_proxies(routes: Sequence[ProxyRoute]) -> None:
                for route in routes:
                    draw = Random(f"proxy {self._options.seed} {route.server}")
                    self._proxies[route.server] = await opened.enter_async_context(Proxy(route, draw))

            stack = Stack(self._home, self._stack_options(market, start_proxies), self._print)
            self._stack = await opened.enter_async_context(stack)
            self._evidence = Evidence(self._home)
            opened.callback(self._evidence.close)
            opening = open_client(stack.gateway, connections=CONNECTIONS, timeout_s=CALL_TIMEOUT_S)
            gateway = await opened.enter_async_context(opening)
            self._load = Load(gateway, self._evidence, self._options.seed, TENANTS)
            self._injector = Injector(stack, self._proxies, self._points)
            settled = await self._break_and_heal(market)
            settled.write(self._home)
            await self._load.read_everything()
            await settle(self._stack)  # reads are metered, and their usage is published with a delay
            messages = await dump_topics(stack.kafka, self._home)
            orders, executions = await dump_exchange(FaultyExchange(stack.sandbox), self._home)
            violations = await self._violations(settled)
        return FaultReport(
            seed=self._options.seed,
            families=list(self._options.families),
            rounds=self._progress.round,
            strikes=self._options.strikes,
            points=points_of(self._options.families),
            hits=self._points.hits(),
            tally=self._injector.tally,
            calls=self._evidence.outcomes,
            messages=messages,
            orders=orders,
            executions=executions,
            settled=settled,
            violations=violations,
            seconds=round(time.monotonic() - began, 1),
        )

    @property
    def _trades_live(self) -> bool:
        return "D" in self._options.families

    def _print(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False)

    def _stack_options(self, market: Market, start_proxies: StartProxies) -> StackOptions:
        points = {"FAULT_POINTS": str(self._points.folder)}
        return StackOptions(
            market.arguments(),
            env=dict.fromkeys(SERVICES, points),
            split=True,
            start_proxies=start_proxies,
        )

    async def _break_and_heal(self, market: Market) -> SettledState:
        stop = asyncio.Event()
        waits_for = partial(is_trading, self._stack) if self._trades_live else None
        moving = asyncio.create_task(market.run(self._stack.sandbox, stop, waits_for))
        try:
            await self._load.begin()
            for tenant in self._load.tenants:
                await grant(self._stack.database.dsn("billing_app"), tenant.email, tenant.plan)
            if self._trades_live:
                await self._load.open_accounts(FaultyExchange(self._stack.sandbox))
            await self._load.furnish()
            loading = asyncio.create_task(self._load.run(stop))
            try:
                await self._rounds()
            finally:
                await self._injector.heal()
                stop.set()
                self._print("healed; waiting for the platform to settle")
                answered = await _finish(loading)
        finally:
            stop.set()
            await moving
        settled = await settle(self._stack)
        if not answered:
            return replace(
                settled, fault=f"calls are unanswered {ANSWERED_WITHIN_S:.0f} s after healing; {settled.fault}"
            )
        return settled

    async def _rounds(self) -> None:
        options, began = self._options, time.monotonic()
        exchange = FaultyExchange(self._stack.sandbox)
        screen = Screen(self._console, self._progress, self._evidence, self._injector.tally)
        async with screen.showing():
            for fault_round in islice(plan(options.seed, options.families, options.strikes), options.rounds):
                if options.minutes is not None and time.monotonic() - began > options.minutes * 60:
                    return
                self._progress.begin(fault_round)
                screen.on_round()
                await self._injector.inject(fault_round)
                if self._trades_live:
                    await exchange.await_executions(EXECUTIONS_A_ROUND, TRADING_S)

    async def _violations(self, settled: SettledState) -> list[tuple[str, str]]:
        (self._home / EXPLAINED).write_text(json.dumps(self._injector.tally.poisoned))
        found = await asyncio.to_thread(check, self._home, self._stack.superuser_dsn)
        violations = [(violation.invariant, violation.detail) for violation in found]
        wedged = [*self._injector.tally.stuck, *([settled.fault] if settled.fault else [])]
        return [*(("I7", detail) for detail in wedged), *violations]


async def _finish(loading: asyncio.Task[None]) -> bool:
    """Wait for the load to end. Returns False if a tenant still had no answer in time."""
    _, late = await asyncio.wait([loading], timeout=ANSWERED_WITHIN_S)
    if late:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        return False
    loading.result()
    return True
