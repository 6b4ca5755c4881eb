"""A live session on an exchange that fails, with workers that die. Its fills equal the backtest's all the same;
each intent has one order, each execution is booked once, and nothing stays open."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from services.trading.orders import actor
from services.trading.worker.worker import Worker
from tests.integration.trading.conftest import Trading
from tests.integration.trading.exchange_market import ExchangeMarket, exchange_market
from tests.integration.trading.worker_processes import EXPIRE, worker_processes
from tests.unit.trading.scenes import wavy_bars

BARS = wavy_bars(30)
CREATE, SET_STOP = "/v5/order/create", "/v5/position/trading-stop"
READS = ("/v5/order/realtime", "/v5/position/list", "/v5/execution/list")


async def play_all(market: ExchangeMarket) -> None:
    session = await market.start()
    async with market.worker():
        await market.play(len(BARS))
        await market.sandbox.clear_faults()
        await market.finish(session.session_id)


async def count_hits(market: ExchangeMarket) -> list[object]:
    """Return how often each fault struck."""
    faults = await market.sandbox.control("GET", "faults")
    assert isinstance(faults, list)
    return [fault["hits"] for fault in faults]


async def test_orders_whose_answers_are_lost_are_found_again(trading: Trading) -> None:
    async with exchange_market(trading, BARS) as market:
        for nth in (1, 2, 4, 6, 9, 12):
            await market.sandbox.fault("cut", when="after", route=CREATE, nth=nth)
        await market.sandbox.fault("cut", when="after", route=SET_STOP, nth=2)
        await market.sandbox.fault("cut", when="after", route="/v5/order/cancel", nth=1)
        await play_all(market)


async def test_an_order_that_is_not_found_for_seconds_is_not_sent_again(trading: Trading) -> None:
    async with exchange_market(trading, BARS) as market:
        await market.sandbox.delay(market.account, lookup_ms=3_000)
        for nth in (1, 3, 5):
            await market.sandbox.fault("cut", when="after", route=CREATE, nth=nth)
            await market.sandbox.fault("empty_list", route="/v5/execution/list", payload="orderLinkId", nth=3 * nth)
        await play_all(market)


async def test_refusals_and_unreadable_answers_change_nothing(trading: Trading) -> None:
    """The exchange was or was not reached; it is asked, and asked again."""
    async with exchange_market(trading, BARS) as market:
        fault = market.sandbox.fault
        await fault("ret_code", route=CREATE, code=10006, reset_in_ms=-500, nth=1)
        await fault("ret_code", route=CREATE, code=10016, nth=3)  # not carried out: sent again after ten seconds
        await fault("ret_code", route=CREATE, code=10016, when="after", nth=4)
        await fault("ret_code", route=CREATE, code=110079, when="after", nth=6)
        await fault("answer", route=CREATE, when="after", nth=8)
        await fault("truncate", route=CREATE, when="after", nth=10)
        await fault("answer", route=CREATE, when="after", status=200, body="", nth=12)
        for route in READS:
            await fault("answer", route=route, nth=3)
            await fault("truncate", route=route, nth=15)
            await fault("answer", route=route, status=200, body="", nth=25)
            await fault("ret_code", route=route, code=10006, reset_in_ms=-500, nth=35)
            await fault("ret_code", route=route, code=10016, nth=45)
        for nth, code in enumerate((10006, 10016, 10019), 1):
            await fault("ret_code", route=SET_STOP, code=code, nth=2 * nth)
        await play_all(market)


async def test_a_stream_that_repeats_reorders_breaks_and_falls_silent_is_only_a_hint(trading: Trading) -> None:
    async with exchange_market(trading, BARS) as market:
        session = await market.start()
        of_account = {"stream": "private", "account": market.account.uid}
        async with market.worker():
            for topic, kind in (("execution", "duplicate"), ("order", "reorder"), ("execution", "reorder")):
                await market.sandbox.stream_fault(kind, topic=topic, count=20, **of_account)
            await market.play(12)
            for kind in ("drop", "cut", "drop", "cut"):
                await market.sandbox.stream_fault(kind, **of_account)
                await market.play(3)
            await market.sandbox.stream_fault("mute", **of_account)
            market.misses_executions = True
            await market.play(len(BARS) - 24)
            await market.sandbox.stream_fault("speak", **of_account)
            await market.finish(session.session_id)


async def test_a_session_with_a_slippage_tolerance_is_protected_after_its_fills(trading: Trading) -> None:
    async with exchange_market(trading, wavy_bars(18)) as market:
        session = await market.start(tolerance_ticks=5)
        async with market.worker():
            await market.play(18)
            await market.finish(session.session_id)
        entries = [
            order
            for order in await market.sandbox.ledger("order", uid=market.account.uid)
            if order.get("slippage_tolerance_type") == "TickSize"
        ]
        assert entries


class MortalWorker(Worker):
    """A worker that may die without releasing its leases."""

    is_dead = False

    async def _release(self) -> None:
        if not self.is_dead:
            await super()._release()


@asynccontextmanager
async def workers_that_die(
    market: ExchangeMarket, monkeypatch: pytest.MonkeyPatch, draw: Random
) -> AsyncIterator[list[str]]:
    """Run a worker that dies at a crash point, or within the call to exchange or database that follows it; then the
    next one takes over. Yields the points at which one died."""
    stop, deaths = asyncio.Event(), list[str]()
    hits_left = 8

    def start() -> tuple[MortalWorker, asyncio.Task[None]]:
        worker = market.make_worker(MortalWorker)
        assert isinstance(worker, MortalWorker)
        return worker, asyncio.create_task(worker.run(stop))

    worker, task = start()

    def kill() -> None:
        worker.is_dead = True
        task.cancel()

    def strike(name: str) -> None:
        nonlocal hits_left
        hits_left -= 1
        if hits_left or stop.is_set():
            return
        hits_left = draw.randint(4, 24)
        deaths.append(name)
        if draw.random() < 0.5:
            asyncio.get_running_loop().call_later(draw.uniform(0, 0.03), kill)
        else:
            kill()
            raise asyncio.CancelledError

    async def replace() -> None:
        nonlocal worker, task
        while not stop.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(asyncio.wait([task]))
            if not stop.is_set():
                await market.trading.fetch(EXPIRE)
                worker, task = start()

    monkeypatch.setattr(actor, "point", strike)
    others = [asyncio.create_task(replace()), asyncio.create_task(market.clock.follow(stop, 0.2, 0.2))]
    try:
        yield deaths
    finally:
        stop.set()
        await asyncio.gather(task, *others)


async def test_workers_that_die_at_any_moment_hand_the_session_over(
    trading: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exchange_market(trading, BARS) as market:
        session = await market.start()
        async with workers_that_die(market, monkeypatch, Random(4)) as deaths:
            await market.play(len(BARS))
            await market.finish(session.session_id)
        assert len(deaths) > 3, deaths
        taken_over = await trading.fetch("SELECT FROM session_incidents WHERE kind = 'taken_over'")
        assert 0 < len(taken_over) <= len(deaths)


async def test_processes_that_are_killed_or_frozen_with_an_order_in_hand_send_nothing_twice(
    trading: Trading, service_env: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    async with exchange_market(trading, BARS) as market:
        session = await market.start()
        async with worker_processes(market, service_env("trading"), tmp_path) as workers:

            async def strike() -> None:
                frozen = await workers.strike("orders.after_gate", "STOP", 2)
                await workers.strike("orders.after_send", "KILL", 1)
                await workers.wake(frozen)
                await workers.strike("orders.before_commit", "KILL", 3)
                await workers.strike("orders.after_gate", "KILL", 2)
                await workers.start()

            async with asyncio.TaskGroup() as group:
                group.create_task(strike())
                group.create_task(market.play(len(BARS)))
            await market.finish(session.session_id)
            bodies = [request["body"] for request in await market.sandbox.ledger(route=CREATE)]
            created = [body["orderLinkId"] for body in bodies if isinstance(body, dict)]
            assert len(created) == len(set(created)), "an order was sent twice"
