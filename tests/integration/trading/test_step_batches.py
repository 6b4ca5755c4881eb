"""Steps of many tenants' sessions are written together, in few statements; a faulty one fails alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.trading.operations.record_step import StepRecord, write_steps
from services.trading.operations.stop_session import stop_session
from services.trading.queries import leases
from services.trading.queries.sessions import SessionLease, SessionRow, get_session
from services.trading.queries.steps import (
    NewDecision,
    NewFill,
    NewTrade,
    QuietMove,
    TradeChange,
    change_trades,
    insert_decisions,
    insert_fills,
    insert_trades,
    move_cursors,
)
from services.trading.worker.live_session import load_session
from shared.chassis.postgres import Connection
from shared.contracts.types import from_ms, new_id
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Terms
from shared.strategy.document.parse import parse_strategy
from shared.strategy.execution.outcome import StepOutcome
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.integration.trading.test_outcomes import RESTLESS
from tests.integration.trading.writes import count_writes, writes
from tests.unit.trading.scenes import INSTRUMENT, wavy_bars

TENANTS, SYMBOLS = 6, ("BTCUSDT", "ETHUSDT")
BARS = wavy_bars(40)
ENDS_OPEN = (None, None, None, None, None, None)
Write = Callable[[Connection, Sequence[Any]], Awaitable[None]]  # Any: each has its own rows


async def start_all(trading: Trading) -> list[SessionRow]:
    sessions = []
    for user_id in range(1, TENANTS + 1):
        caller, strategy = await trading.subscribe(user_id), await trading.strategy(user_id, RESTLESS)
        sessions += [await trading.start(caller, strategy, symbol) for symbol in SYMBOLS]
    return sessions


async def fingerprint_of(trading: Trading, session: SessionRow) -> str:
    stopped = await as_tenant(
        trading.database, stop_session, session.user_id, session.session_id, "end_of_data", BEFORE
    )
    return stopped.fingerprint


async def test_a_close_of_two_series_is_few_statements_for_all_sessions(trading: Trading) -> None:
    sessions = await start_all(trading)
    owner = await asyncpg.connect(trading.owner_dsn)
    async with trading.worker():
        markets = [await trading.market(BARS, symbol) for symbol in SYMBOLS]
        for market in markets:
            last = await market.close_bars(10)
        await trading.until_stepped(last)
        await count_writes(owner)
        for _ in range(10):
            for market in markets:
                last = await market.close_bars()
            await trading.until_stepped(last)
        counted = await writes(owner)
        for market in markets:
            last = await market.close_bars(20)
        await trading.until_stepped(last)
    await owner.close()
    # A bar's open and its close, of each series at most: cursors, sessions, decisions twice, trades, fills,
    # statistics and events.
    assert len(counted) <= 10 * 2 * len(SYMBOLS) * 8
    expected = run_backtest(parse_strategy(RESTLESS), BARS, Terms(INSTRUMENT)).fingerprint
    assert {await fingerprint_of(trading, session) for session in sessions} == {expected}


async def test_a_session_that_cannot_be_stored_does_not_hold_up_its_batch(trading: Trading) -> None:
    broken, *sound = await start_all(trading)
    refusal = f"CHECK (session_id <> '{broken.session_id}')"
    await trading.fetch(f"ALTER TABLE fills ADD CONSTRAINT none_of_this_one {refusal}")
    async with trading.worker():
        for symbol in SYMBOLS:
            last = await (await trading.market(BARS, symbol)).close_bars(len(BARS))
        behind = "SELECT session_id FROM session_cursors WHERE last_bar IS DISTINCT FROM $1"
        await trading.until(f"SELECT 1 WHERE (SELECT count(*) FROM ({behind}) AS b) = 1", from_ms(last))
        assert [row["session_id"] for row in await trading.fetch(behind, from_ms(last))] == [broken.session_id]
        failed = "SELECT 1 FROM session_leases WHERE session_id = $1 AND failed_at IS NOT NULL"
        await trading.until(failed, broken.session_id)
    expected = run_backtest(parse_strategy(RESTLESS), BARS, Terms(INSTRUMENT)).fingerprint
    assert {await fingerprint_of(trading, session) for session in sound} == {expected}


async def claim_two(trading: Trading) -> tuple[SessionLease, SessionLease]:
    """Start and claim a session of tenant 1 and one of tenant 2."""
    for user_id in (1, 2):
        await trading.start(await trading.subscribe(user_id), await trading.strategy(user_id))
    await (await trading.market(wavy_bars(5))).close_bars(1)
    async with trading.database.queue() as connection:
        mine, other = sorted(await leases.claim(connection, "worker", 10), key=lambda lease: lease.user_id)
    return mine, other


async def record_of(trading: Trading, lease: SessionLease) -> StepRecord:
    session = await load_session(trading.database, lease)
    assert session is not None
    return session.record(StepOutcome(dropped=True), BEFORE, late=False)


async def test_only_the_tenants_of_a_batch_are_written(trading: Trading) -> None:
    mine, other = await claim_two(trading)
    records = [await record_of(trading, mine), await record_of(trading, other)]
    async with trading.database.tenants([mine.user_id]) as connection:
        assert set(await write_steps(connection, records)) == {mine.session_id}
    async with trading.database.tenants([mine.user_id]) as connection:
        assert await move_cursors(connection, [move(other)]) == set()
    forged = replace(records[1], lease=replace(other, user_id=mine.user_id))
    async with trading.database.tenants([mine.user_id]) as connection:
        assert await write_steps(connection, [forged]) == {}
    rows = await trading.fetch("SELECT user_id, last_bar FROM session_cursors ORDER BY user_id")
    assert [tuple(row) for row in rows] == [(1, BEFORE), (2, None)]


def move(lease: SessionLease) -> QuietMove:
    return QuietMove(lease.user_id, lease.session_id, lease.epoch, None, from_ms(1))


async def test_a_forged_tenant_is_refused_by_the_database(trading: Trading) -> None:
    mine, other = await claim_two(trading)
    zero, trade_id = Decimal(0), new_id()
    decision = NewDecision(
        *(other.user_id, other.session_id, "hash", new_id(), BEFORE, "entry", "LONG", "signal", None, "pending"),
        *(None, {}, {}, None, None),
    )
    trade = NewTrade(
        *(other.user_id, trade_id, "OPEN", zero, zero, False, *ENDS_OPEN, other.session_id, UUID(int=1), "hash"),
        *("BTCUSDT", "LONG", BEFORE, zero, zero, True),
    )
    fill = NewFill(
        *(other.user_id, other.session_id, 1, trade_id, BEFORE, "open", "LONG", zero, zero, zero, "entry", False),
        None,
    )
    inserts: list[tuple[Write, object]] = [
        (insert_decisions, decision),
        (insert_trades, trade),
        (insert_fills, fill),
    ]
    for write, row in inserts:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with trading.database.tenants([mine.user_id]) as connection:
                await write(connection, [row])
        async with trading.database.tenants([mine.user_id, other.user_id]) as connection:
            await write(connection, [row])
    change = TradeChange(other.user_id, trade_id, "CLOSED", zero, zero, True, *ENDS_OPEN)
    async with trading.database.tenants([mine.user_id]) as connection:
        assert await change_trades(connection, [change]) == set()
    assert [row["status"] for row in await trading.fetch("SELECT status FROM user_trades")] == ["OPEN"]


async def test_a_move_that_waits_for_a_stop_does_not_move(trading: Trading) -> None:
    mine, _ = await claim_two(trading)

    async def move_cursor() -> set[UUID]:
        async with trading.database.tenants([mine.user_id]) as connection:
            return await move_cursors(connection, [move(mine)])

    async with trading.database.tenant(mine.user_id) as connection:
        await stop_session(connection, mine.user_id, mine.session_id, "manual", BEFORE)
        moving = asyncio.create_task(move_cursor())
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%session_cursors%'"
        await trading.until(waiting)
    assert await moving == set()
    rows = await trading.fetch("SELECT last_bar, ended FROM session_cursors WHERE user_id = 1")
    assert [tuple(row) for row in rows] == [(None, True)]


async def test_a_move_shows_in_the_session_with_a_new_time_of_change(trading: Trading) -> None:
    mine, _ = await claim_two(trading)
    before = await as_tenant(trading.database, get_session, mine.user_id, mine.session_id)
    async with trading.database.tenants([mine.user_id]) as connection:
        assert await move_cursors(connection, [move(mine)]) == {mine.session_id}
    after = await as_tenant(trading.database, get_session, mine.user_id, mine.session_id)
    assert (before.first_bar, before.last_bar) == (None, None)
    assert (after.first_bar, after.last_bar) == (from_ms(1), from_ms(1))
    assert after.updated_at > before.updated_at
    assert after.revision == before.revision
