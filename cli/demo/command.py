"""`tradefleet demo`: run the demo and print its result."""

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict
from pathlib import Path

import asyncpg
import click
from rich.console import Console

from cli.demo import checks, exchange, outcome
from cli.demo.isolation import try_everything
from cli.demo.ledger import read_topics, wait_until_consumed
from cli.demo.options import DemoOptions, Mode, RawOptions, read_options
from cli.demo.replay import Replay
from cli.demo.scenario import DemoTenant, Scenario, add_notes, register, set_up, try_paid_features
from cli.demo.screen import Screen
from cli.interruption import cancel_on_signals, signals_ignored
from cli.options import OneLineCommand
from sandbox.bybit.client import SandboxClient
from shared.contracts.types import decimal_text
from shared.testing.api_client import UnexpectedAnswer, open_client
from shared.testing.operations import read_operations
from stack.billing_database import grant
from stack.cleanup import remove_home
from stack.failure import BadInput, CheckFailed
from stack.stack import Stack, StackOptions

HOME = Path(".tradefleet")
SETTLE_TIMEOUT_S = 60
PLAN_TIMEOUT_S = 15
ANSWER_TIMEOUT_S = 30
CONNECTIONS = 16
LIMITS_FACTOR = 1000  # of the sandbox's rate limits, so that they do not slow the replay
REQUESTS = "500000"  # from our address in five seconds


@click.command(cls=OneLineCommand)
@click.option(
    "--candles", multiple=True, metavar="SYMBOL=FILE|bybit", help="Candles; repeatable; default: synthetic."
)
@click.option(
    "--strategy", multiple=True, metavar="FILE", help="Strategy document; repeatable; default: three built-in ones."
)
@click.option("--instrument", multiple=True, metavar="[SYMBOL:]KEY=VALUE,…", help="tick_size, qty_step, …")
@click.option("--fee", default="0.00055", show_default=True, help="Fraction of the notional of every fill.")
@click.option("--balance", default="10000", show_default=True, help="Initial balance of each session.")
@click.option(
    "--tenants",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Number of tenants, plus one on FREE.",
)
@click.option(
    "--mode",
    type=click.Choice(["paper", "exchange", "both"]),
    help="Where the tenants trade; both, the default: on paper, and one more on the sandbox exchange.",
)
@click.option("--bars", type=click.IntRange(1), help="Use only this many bars of each file.")
@click.option("--bar-ms", type=click.IntRange(1), help="Milliseconds per bar; default: wait for the bots.")
@click.option("--keep", is_flag=True, help="Keep the platform running until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def demo(
    candles: tuple[str, ...],
    strategy: tuple[str, ...],
    instrument: tuple[str, ...],
    fee: str,
    balance: str,
    tenants: int,
    mode: Mode | None,
    bars: int | None,
    bar_ms: int | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Run several tenants on paper and on the sandbox exchange, and check the results."""
    home = HOME / f"demo-{time.time_ns() // 1_000_000}"
    raw = RawOptions(candles, strategy, instrument, fee, balance, tenants, bars, bar_ms, mode)
    with ExitStack() as failed:
        failed.callback(_remove_uninterrupted, home)
        options = read_options(raw, home / "market")
        failed.pop_all()
    console = Console(soft_wrap=True)
    try:
        ok = asyncio.run(_run(options, home, console, keep=keep, as_json=as_json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        _remove_uninterrupted(home)
        raise
    except BadInput:
        if not any((home / "logs").glob("*")):  # nothing was started, so there are no logs to keep
            remove_home(home)
        raise
    if not ok:
        raise SystemExit(1)


def _remove_uninterrupted(home: Path) -> None:
    with signals_ignored():
        remove_home(home)


async def _run(options: DemoOptions, home: Path, console: Console, *, keep: bool, as_json: bool) -> bool:
    cancel_on_signals()
    console.print(f"candles: {options.source}")
    started = time.monotonic()
    instruments = home / "market" / "instruments.json"
    instruments.write_text(json.dumps({s: _texts(asdict(i)) for s, i in options.instruments.items()}))
    stack_options = StackOptions(
        sandbox=_sandbox_arguments(options, instruments),
        env={"trading": {"PAPER_FEE": decimal_text(options.fee), "EXCHANGE_REQUESTS": REQUESTS}},
        topic_prefix=f"{home.name}." if "KAFKA_BOOTSTRAP" in os.environ else "",
    )
    async with Stack(home, stack_options, lambda what: console.print(f"  {what}")) as stack:
        console.print(f"ready in {time.monotonic() - started:.1f} s at {stack.gateway}")
        try:
            result = await Demo(options, stack, console).run()
        except UnexpectedAnswer as error:
            raise CheckFailed(str(error)) from None
        if keep:
            console.print(f"running at {stack.gateway} until Ctrl-C")
            _print_last(result, as_json)
            await asyncio.Event().wait()
    if result["ok"]:
        remove_home(home)
    else:
        console.print(f"logs: {stack.logs}")
    _print_last(result, as_json)
    return bool(result["ok"])


def _print_last(result: dict[str, object], as_json: bool) -> None:
    """Print the JSON object as the last line."""
    if as_json:
        print(json.dumps(result), flush=True)


def _texts(values: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _sandbox_arguments(options: DemoOptions, instruments: Path) -> list[str]:
    arguments = [f"--candles={candles.symbol}={candles.file}" for candles in options.candles]
    arguments.append(f"--instruments={instruments.absolute()}")
    if options.bars is not None:
        arguments.append(f"--bars={options.bars}")
    if options.bar_ms is not None:
        arguments.append(f"--bar-ms={options.bar_ms}")
    if options.is_on_exchange:
        arguments += ["--two-phase", f"--limits-factor={LIMITS_FACTOR}"]
    return arguments


class Demo:
    """One run of the demo on a running stack."""

    def __init__(self, options: DemoOptions, stack: Stack, console: Console) -> None:
        self._options = options
        self._stack = stack
        self._console = console
        self._outcome = checks.DemoOutcome()

    async def run(self) -> dict[str, object]:
        """Run the demo and return the JSON object of the result."""
        async with AsyncExitStack() as opened:
            opening = open_client(self._stack.gateway, connections=CONNECTIONS, timeout_s=ANSWER_TIMEOUT_S)
            self._gateway = await opened.enter_async_context(opening)
            self._owner = await asyncpg.connect(self._stack.database.owner_dsn)
            opened.push_async_callback(self._owner.close)
            self._sandbox = SandboxClient(self._stack.sandbox, self._gateway.http)
            self._ledger = exchange.ExchangeLedger(self._sandbox)
            tenants = await self._create_tenants()
            await self._replay(tenants)
            await self._settle()
            for tenant in tenants:
                await add_notes(tenant)
            await self._settle()
            results = [await outcome.fetch_result(tenant) for tenant in tenants]
            events = await self._check(tenants, results)
            outcome.show(self._console, results, self._outcome)
        return {
            "candles": {
                "source": self._options.source,
                "kind": "real" if self._options.real else "synthetic",
                "real": self._options.real,
            },
            "tenants": [result.as_object() for result in results],
            "events": events,
            "checks": self._outcome.checks,
            "ok": self._outcome.ok,
        }

    async def _create_tenants(self) -> list[DemoTenant]:
        """Register the trading tenants and one on FREE that tries features outside its plan."""
        options = self._options
        if options.is_on_exchange and (left_out := options.without_stop):
            self._console.print(f"not on the exchange, for want of a stop: {', '.join(left_out)}")
        scenario = Scenario(
            documents=[document.raw for document in options.documents],
            live_documents=[document.raw for document in options.live_documents],
            symbols=options.symbols,
            interval=options.interval,
            initial_balance=decimal_text(options.balance),
            fee=options.fee,
            last_prices={c.symbol: decimal_text(c.bars[min(5, len(c.bars) - 1)].close) for c in options.candles},
            busy=options.busy,
        )
        tenants = []
        for number, mode in enumerate(options.modes):
            tenant = await self._register(f"tenant{number + 1}", scenario.plan_needed(mode))
            tenant.mode = mode
            tenants.append(tenant)
        free = await self._register("free", "FREE")
        for tenant in tenants:
            await set_up(tenant, scenario, self._sandbox)
        free.refusals = await try_paid_features(free, scenario)
        expected = 2 if options.busy and len(options.symbols) > 1 else 1
        fault = "" if len(free.refusals) >= expected else f"{len(free.refusals)} of {expected} refused"
        self._outcome.record("free_plan_refused", fault, "; ".join(free.refusals))
        return [*tenants, free]

    async def _register(self, name: str, plan: str) -> DemoTenant:
        tenant = await register(self._gateway, name)
        granted = await grant(self._stack.database.dsn("billing_app"), tenant.email, plan)  # type: ignore[arg-type]
        tenant.plan = plan
        for path in ("/v1/sessions/limits", "/v1/alerts"):  # wait until both services know the tenant
            await tenant.must("GET", path)
        async with asyncio.timeout(PLAN_TIMEOUT_S):
            while await self._versions(tenant.email) != {granted.version}:
                await asyncio.sleep(0.05)
        return tenant

    async def _versions(self, email: str) -> set[int]:
        """Return the plan versions that trading and notifications have received."""
        rows = await self._owner.fetch(
            """
            SELECT e.subscription_version FROM trading.entitlements e JOIN auth.users u USING (user_id)
            WHERE u.email = $1
            UNION ALL
            SELECT e.subscription_version FROM notifications.entitlements e JOIN auth.users u USING (user_id)
            WHERE u.email = $1
            """,
            email,
        )
        return {row[0] for row in rows}

    async def _replay(self, tenants: list[DemoTenant]) -> None:
        options = self._options
        replay = Replay(self._stack, self._gateway.http, self._stack.sandbox, self._owner, self._live_sessions())
        screen = Screen(self._console, self._stack.database.owner_dsn, tenants, replay.progress)
        sessions = sum(len(tenant.sessions) for tenant in tenants)
        self._console.print(f"{len(tenants)} tenants, {sessions} sessions; starting the market")
        began = time.monotonic()
        async with screen.showing():
            await replay.run(options.symbols, options.interval, options.bar_ms, screen.on_step)
        seconds = time.monotonic() - began
        steps = replay.progress.steps_total
        self._console.print(f"played {steps} steps in {seconds:.1f} s ({1000 * seconds / steps:.0f} ms each)")
        fault = "" if replay.progress.kills == ["trading", "feed"] else f"only {replay.progress.kills}"
        self._outcome.record("processes_killed", fault, "trading and the feed, once each, during the replay")
        await self._stop_sessions(tenants)
        await replay.wait_until_stopped()

    def _live_sessions(self) -> exchange.LiveSessions | None:
        if not self._options.is_on_exchange:
            return None
        metrics = self._stack.health["trading"].removesuffix("readyz") + "metrics"
        return exchange.LiveSessions(self._owner, self._gateway.http, self._ledger, metrics)

    async def _stop_sessions(self, tenants: list[DemoTenant]) -> None:
        for tenant in tenants:
            for session in tenant.sessions:
                path = f"/v1/sessions/{session.session_id}/stop"
                await tenant.must("POST", path, {"reason": "end_of_data"})

    async def _settle(self) -> None:
        """Wait until all events are consumed. Raises CheckFailed after the time-out."""
        unsent = await checks.eventually(lambda: checks.find_unsent(self._owner))
        waiting = await wait_until_consumed(self._stack.kafka, self._stack.topic_prefix, SETTLE_TIMEOUT_S)
        if unsent or waiting:
            raise CheckFailed(f"events are not fully consumed: {unsent or dict(waiting)}")

    async def _check(self, tenants: list[DemoTenant], results: list[outcome.TenantResult]) -> dict[str, int]:
        record = self._outcome.record
        expected = await asyncio.to_thread(checks.expected_fingerprints, self._options)
        pairs = [(s.strategy, v) for r in results for s, v in zip(r.tenant.sessions, r.sessions, strict=True)]
        fault = checks.compare_fingerprints(expected, pairs)
        record("fingerprints_equal_backtests", fault, f"{len(pairs)} sessions")
        if self._options.is_on_exchange:
            for name, fault, seen in await exchange.compare(self._owner, self._ledger):
                record(name, fault, seen)
            live = [tenant for tenant in tenants if tenant.is_live]
            fault = await exchange.verify_sessions(self._stack.database.dsn("trading_app"), live)
            record("live_sessions_verified", fault, "session verify; no drift")
        ledger = await read_topics(self._stack.kafka, self._stack.topic_prefix)
        fault, seen = await checks.compare_fill_times(self._owner, ledger)
        record("fills_committed_as_bars_arrive", fault, seen)
        record("analytics_equal_trading", await self._compare_analytics(results), "trades and pnl, exactly equal")
        record("usage_equals_closed_trades", await self._compare_usage(results), "distinct closed trades")
        await self._check_isolation(tenants)
        ledger = await read_topics(self._stack.kafka, self._stack.topic_prefix)
        fault = await checks.compare_events(self._owner, ledger, all_above_zero=self._options.busy)
        record("events_equal_tables", fault, f"{sum(ledger.counts.values())} distinct events")
        fault = await checks.eventually(lambda: checks.find_unsent(self._owner)) or (
            f"{ledger.dead_letters} dead letters" if ledger.dead_letters else ""
        )
        record("nothing_left_over", fault, "outboxes, parked events and dead letters are empty")
        await self._check_without_trading(results)
        return ledger.counts

    async def _compare_analytics(self, results: list[outcome.TenantResult]) -> str:
        for result in results:
            row = await self._owner.fetchrow(
                """
                SELECT count(*) AS trades, coalesce(sum(pnl), 0) AS pnl FROM trading.user_trades
                JOIN auth.users USING (user_id) WHERE email = $1 AND status = 'CLOSED'
                """,
                result.tenant.email,
            )
            reported = (result.summary["total_trades"], result.summary["pnl"])
            if reported != (row["trades"], decimal_text(row["pnl"])):
                return f"{result.tenant.email}: analytics {reported}, trading {tuple(row)}"
        return ""

    async def _compare_usage(self, results: list[outcome.TenantResult]) -> str:
        for result in results:
            closed = await self._owner.fetchval(
                """
                SELECT count(DISTINCT trade_id) FROM trading.user_trades JOIN auth.users USING (user_id)
                WHERE email = $1 AND status = 'CLOSED'
                """,
                result.tenant.email,
            )
            if result.usage["total_trades"] != closed:
                return f"{result.tenant.email}: {result.usage['total_trades']} counted, {closed} closed"
        return ""

    async def _check_isolation(self, tenants: list[DemoTenant]) -> None:
        """Have the last tenant, on FREE, try to access everything of the one before, and vice versa."""
        operations = read_operations(await self._gateway.must("GET", "/openapi.json"))
        options = self._options
        breaches = []
        for owner, intruder in ((tenants[-2], tenants[-1]), (tenants[-1], tenants[-2])):
            bodies = intruder.bodies(options.documents[0].raw, options.symbols[0], options.interval)
            breaches += await try_everything(operations, owner, intruder, bodies)
        seen = f"all {len(operations)} operations, both ways"
        self._outcome.record("tenants_isolated", breaches[0] if breaches else "", seen)

    async def _check_without_trading(self, results: list[outcome.TenantResult]) -> None:
        await self._stack.stop_process("trading")
        fault = ""
        for result in results:
            if await outcome.fetch_summary(result.tenant) != result.summary:
                fault = f"{result.tenant.email}: different response"
        self._outcome.record("analytics_answers_without_trading", fault, "same response with trading stopped")
        await self._stack.start_process("trading")
