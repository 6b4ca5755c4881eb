"""Sessions stepped by workers: their fills equal the backtest's, whatever happens to the workers."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from services.trading.operations.record_step import StepRecord, write_steps
from services.trading.operations.stop_session import stop_session
from services.trading.queries import leases, sessions, trades
from services.trading.queries.sessions import SessionLease
from services.trading.queries.steps import QuietMove, move_cursors
from services.trading.worker.live_session import load_session
from shared.contracts.types import from_ms
from shared.strategy.backtest.report import BacktestReport
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Terms
from shared.strategy.document.parse import parse_strategy
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import StepOutcome
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS, INSTRUMENT, wavy_bars


def backtest(bars: list[Bar], first_bar_ms: int | None = None) -> BacktestReport:
    return run_backtest(parse_strategy(CROSS), bars, Terms(INSTRUMENT), first_bar_ms)


async def finish(trading: Trading, user_id: int, session_id: UUID) -> str:
    """Stop the session at the end of the data; returns its fingerprint. It is the one of its fills, also before."""
    async with trading.database.tenant(user_id) as connection:
        fills = await trades.list_session_fills(connection, user_id, session_id)
        running = await sessions.get_session(connection, user_id, session_id)
    assert (running.fingerprint, running.fill_count) == (fingerprint(fills), len(fills))
    stopped = await as_tenant(trading.database, stop_session, user_id, session_id, "end_of_data", BEFORE)
    async with trading.database.tenant(user_id) as connection:
        fills = await trades.list_session_fills(connection, user_id, session_id)
    assert stopped.fingerprint == fingerprint(fills)
    return fingerprint(fills)


@asynccontextmanager
async def worker_process(env: dict[str, str], exchange_url: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.trading", "--only", "worker"),
        env={**os.environ, **env, "BYBIT_REST_URL": exchange_url},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def test_fills_of_a_session_equal_the_backtests(trading: Trading) -> None:
    bars = wavy_bars(120)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(bars)
        for _ in range(12):
            await trading.until_stepped(await market.close_bars(10))
    expected = backtest(bars)
    assert len(expected.fills) > 20
    assert await finish(trading, 1, session.session_id) == expected.fingerprint


async def test_trades_equal_the_backtests_to_the_last_digit(trading: Trading) -> None:
    bars = wavy_bars(120, seed=3)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(bars)
        await trading.until_stepped(await market.close_bars(120))
    await finish(trading, 1, session.session_id)
    rows = await trading.fetch("SELECT * FROM user_trades ORDER BY entry_time")
    expected = backtest(bars)
    assert [(row["pnl"], row["fee"], row["exit_price"]) for row in rows] == [
        (trade.pnl, trade.fees, trade.exit_price) for trade in expected.trades
    ]
    (row,) = await trading.fetch("SELECT * FROM user_trading_sessions")
    assert row["final_balance"] == expected.final_equity
    assert row["total_trades"] == len(expected.trades) == row["winning_trades"] + row["losing_trades"]


async def test_events_are_numbered_without_gaps_and_match_the_tables(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(wavy_bars(80))
        await trading.until_stepped(await market.close_bars(80))
    await finish(trading, 1, session.session_id)
    rows = await trading.fetch(
        """SELECT topic, convert_from(payload, 'UTF8')::jsonb AS data FROM outbox
           WHERE topic LIKE 'session.%' OR topic LIKE 'trade.%' ORDER BY id"""
    )
    closed = await trading.fetch("SELECT trade_id::text FROM user_trades WHERE status = 'CLOSED'")
    assert [row["topic"] for row in rows][:: len(rows) - 1] == ["session.started", "session.stopped"]
    numbers = await trading.fetch(
        """SELECT (convert_from(payload, 'UTF8')::jsonb ->> 'aggregate_seq')::int AS number FROM outbox
           WHERE topic LIKE 'session.%' OR topic LIKE 'trade.%' ORDER BY id"""
    )
    assert [row["number"] for row in numbers] == list(range(1, len(rows) + 1))
    assert len([row for row in rows if row["topic"] == "trade.closed"]) == len(closed) > 5


async def test_every_fill_links_to_an_earlier_decision(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(wavy_bars(100))
        await trading.until_stepped(await market.close_bars(100))
    rows = await trading.fetch(
        """SELECT f.time AS filled, f.action, f.side, d.time AS decided, d.kind, d.side AS decided_side, d.outcome
           FROM fills f LEFT JOIN decisions d USING (user_id, decision_id)"""
    )
    assert len(rows) > 10
    assert all(row["decided"] < row["filled"] and row["side"] == row["decided_side"] for row in rows)
    assert all(row["kind"] == "entry" for row in rows if row["action"] == "open")


async def test_a_session_decides_from_the_first_bar_that_opens_after_its_start(trading: Trading) -> None:
    bars = wavy_bars(120)
    ann = await trading.subscribe(1)
    async with trading.worker():
        market = await trading.market(bars)
        await market.close_bars(60)
        inside = from_ms(bars[60].open_time_ms)
        session = await trading.start(ann, await trading.strategy(1), venue_now=inside)
        await trading.until_stepped(await market.close_bars(60))
    expected = backtest(bars, bars[61].open_time_ms)
    assert await finish(trading, 1, session.session_id) == expected.fingerprint
    (row,) = await trading.fetch("SELECT first_bar FROM session_cursors")
    assert row["first_bar"] == from_ms(bars[61].open_time_ms)


async def test_lost_events_are_recovered_from_stored_candles(trading: Trading) -> None:
    bars = wavy_bars(100)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(bars)
        for announce in (True, False, True, False, True):
            last = await market.close_bars(20, announce=announce)
        await trading.until_stepped(last)
    assert await finish(trading, 1, session.session_id) == backtest(bars).fingerprint


async def test_another_worker_replaces_a_killed_one_without_duplicates(
    trading: Trading, service_env: Callable[[str], dict[str, str]]
) -> None:
    bars = wavy_bars(120)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with worker_process(service_env("trading"), trading.exchange.url) as process:
        market = await trading.market(bars)
        await trading.until_stepped(await market.close_bars(40), within_s=30)
        await market.close_bars(15)
        process.kill()
        await process.wait()
    async with worker_process(service_env("trading"), trading.exchange.url):
        await market.close_bars(20)
        await trading.until_stepped(await market.close_bars(45), within_s=40)
    assert await finish(trading, 1, session.session_id) == backtest(bars).fingerprint
    (row,) = await trading.fetch(
        """SELECT (SELECT count(*) FROM outbox WHERE topic = 'trade.closed') AS published,
                  (SELECT count(*) FROM user_trades WHERE status = 'CLOSED') AS closed"""
    )
    assert row["published"] == row["closed"] == len(backtest(bars).trades)


async def test_a_worker_that_resumes_after_its_lease_expired_writes_nothing(
    trading: Trading, service_env: Callable[[str], dict[str, str]]
) -> None:
    bars = wavy_bars(100)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with worker_process(service_env("trading"), trading.exchange.url) as sleeper:
        market = await trading.market(bars)
        await trading.until_stepped(await market.close_bars(30), within_s=30)
        sleeper.send_signal(signal.SIGSTOP)
        await market.close_bars(20)
        async with trading.worker():
            await trading.until_stepped(await market.close_bars(20), within_s=40)
            sleeper.send_signal(signal.SIGCONT)
            await trading.until_stepped(await market.close_bars(30), within_s=40)
    assert await finish(trading, 1, session.session_id) == backtest(bars).fingerprint
    (row,) = await trading.fetch("SELECT count(*) AS published FROM outbox WHERE topic = 'trade.closed'")
    assert row["published"] == len(backtest(bars).trades)


async def test_a_worker_that_shuts_down_releases_its_leases_at_once(trading: Trading) -> None:
    bars = wavy_bars(60)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    market = await trading.market(bars)
    for _ in range(6):  # far quicker than leases expire
        async with trading.worker():
            await trading.until_stepped(await market.close_bars(10), within_s=5)
    assert await finish(trading, 1, session.session_id) == backtest(bars).fingerprint


async def test_two_workers_share_the_sessions(trading: Trading) -> None:
    bars = wavy_bars(60)
    ann = await trading.subscribe(1)
    strategy_id = await trading.strategy(1)
    sessions = [await trading.start(ann, strategy_id) for _ in range(6)]
    held = "SELECT worker, count(*) FROM session_leases WHERE worker IS NOT NULL GROUP BY worker"
    async with trading.worker(), trading.worker():
        market = await trading.market(bars)
        await market.close_bars(20)
        await eventually(lambda: trading.fetch(held), lambda rows: [row["count"] for row in rows] == [3, 3])
        await trading.until_stepped(await market.close_bars(40))
    expected = backtest(bars).fingerprint
    for session in sessions:
        assert await finish(trading, 1, session.session_id) == expected


async def test_writes_under_an_old_epoch_have_no_effect(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    await trading.start(ann, await trading.strategy(1))
    await (await trading.market(wavy_bars(20))).close_bars(5)
    async with trading.database.queue() as connection:
        (old,) = await leases.claim(connection, "the zombie", 10)
    await trading.fetch("UPDATE session_leases SET expires_at = now() - interval '1 second'")
    async with trading.database.queue() as connection:
        (new,) = await leases.claim(connection, "the successor", 10)
        assert await leases.renew(connection, "the zombie") == []
    assert (old.epoch, new.epoch) == (1, 2)
    assert (old.taken_over, new.taken_over) == (False, True)
    assert not await _write_quietly(trading, old)
    assert await _move(trading, old) == set()
    assert await _move(trading, new) == {new.session_id}
    assert not await _write_quietly(trading, new)  # the cursor is not where the step expects it


async def _write_quietly(trading: Trading, lease: SessionLease) -> bool:
    session = await load_session(trading.database, lease)
    assert session is not None
    step = StepRecord(
        lease, session.row, "cross", StepOutcome(dropped=True), None, session.totals, None, BEFORE, {}, late=False
    )
    async with trading.database.tenants([lease.user_id]) as connection:
        return bool(await write_steps(connection, [step]))


async def _move(trading: Trading, lease: SessionLease) -> set[UUID]:
    async with trading.database.tenants([lease.user_id]) as connection:
        move = QuietMove(lease.user_id, lease.session_id, lease.epoch, None, from_ms(1))
        return await move_cursors(connection, [move])


async def test_a_step_long_after_its_bar_marks_its_trades_late(trading: Trading) -> None:
    bars = wavy_bars(40)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    market = await trading.market(bars)
    await market.close_bars(40)
    trading.clock.see(from_ms(bars[-1].open_time_ms + 10 * 900_000))
    async with trading.worker():
        await trading.until_stepped(bars[-1].open_time_ms)
    assert await finish(trading, 1, session.session_id) == backtest(bars).fingerprint
    rows = await trading.fetch("SELECT late FROM fills WHERE reason <> 'end_of_data'")
    assert rows
    assert all(row["late"] for row in rows)


async def test_a_session_whose_step_cannot_be_stored_fails_alone(trading: Trading) -> None:
    bars = wavy_bars(120)
    ann, strategy = await trading.subscribe(1), await trading.strategy(1)
    broken, sound = await trading.start(ann, strategy), await trading.start(ann, strategy)
    refusal = f"CHECK (session_id <> '{broken.session_id}')"
    await trading.fetch(f"ALTER TABLE fills ADD CONSTRAINT none_of_this_one {refusal}")
    async with trading.worker():
        market = await trading.market(bars)
        last = from_ms(await market.close_bars(len(bars)))
        at_bar = "SELECT 1 FROM session_cursors WHERE session_id = $1 AND last_bar = $2"
        await trading.until(at_bar, sound.session_id, last)
    assert await finish(trading, 1, sound.session_id) == backtest(bars).fingerprint
