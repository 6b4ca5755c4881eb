"""A silent feed: no entries are made, exits continue, and tenants are notified once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from services.trading.domain import LONGEST_SILENCE
from services.trading.operations.stop_session import stop_session
from services.trading.worker.worker import Worker
from shared.contracts.trading import SessionAlarmed
from shared.contracts.types import from_ms
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS, STEP_MS, wavy_bars

SHORT = timedelta(milliseconds=100)
BARS = wavy_bars(120)
RESTRICTIONS = "SELECT kind, after_bar FROM session_restrictions ORDER BY restriction_number"


@asynccontextmanager
async def worker_with_patience(trading: Trading, patience: timedelta = SHORT) -> AsyncIterator[None]:
    """Run a worker that waits for `patience` by its own clock before it reports silence."""
    stop = asyncio.Event()
    running = asyncio.create_task(Worker(trading.database, trading.settings, trading.clock, patience).run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


def make_silent_after(trading: Trading, bar: int, more: timedelta = timedelta(seconds=1)) -> None:
    """Advance the exchange's clock to two minutes, plus `more`, after the end of the bar that follows this one."""
    trading.clock.see(from_ms(BARS[bar].open_time_ms + 2 * STEP_MS) + LONGEST_SILENCE + more)


async def alarms(trading: Trading) -> list[SessionAlarmed]:
    query = "SELECT payload FROM outbox WHERE topic = 'session.alarmed' ORDER BY user_id, id"
    return [SessionAlarmed.model_validate_json(row["payload"]) for row in await trading.fetch(query)]


async def until_alarmed(trading: Trading, count: int) -> list[SessionAlarmed]:
    return await eventually(lambda: alarms(trading), lambda rows: len(rows) >= count)


async def test_bars_after_a_silence_are_stepped_without_entries_and_marked_late(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    await trading.start(ann, await trading.strategy(1))
    async with worker_with_patience(trading):
        market = await trading.market(BARS)
        await trading.until_stepped(await market.close_bars(40))
        make_silent_after(trading, 80)
        await until_alarmed(trading, 1)
        await trading.until_stepped(await market.close_bars(40, announce=False))
        silent = from_ms(BARS[40].open_time_ms), from_ms(BARS[79].open_time_ms)
        entered = "SELECT count(*) AS n FROM decisions WHERE kind = 'entry' AND outcome <> 'refused' AND time >= $1"
        (before,) = await trading.fetch(entered, silent[0])
        assert before["n"] == 0
        refused = await trading.fetch("SELECT refusal, time FROM decisions WHERE outcome = 'refused' ORDER BY time")
        assert len(refused) > 3
        assert {row["refusal"] for row in refused} == {"feed_silent"}
        assert all(silent[0] <= row["time"] <= silent[1] for row in refused)
        late = await trading.fetch("SELECT late, reason FROM fills WHERE time BETWEEN $1 AND $2", *silent)
        assert all(row["late"] for row in late)
        await trading.until_stepped(await market.close_bars(40))
        (after,) = await trading.fetch(entered, silent[0])
        assert after["n"] > 0
    held = [tuple(row) for row in await trading.fetch(RESTRICTIONS)]
    assert held == [("FEED_SILENT", from_ms(BARS[39].open_time_ms)), ("FEED_SILENT_LIFTED", silent[1])]


async def test_each_tenant_is_notified_once_of_a_silence_across_workers(trading: Trading) -> None:
    for user_id in (1, 2):
        await trading.start(await trading.subscribe(user_id), await trading.strategy(user_id))
    market = await trading.market(BARS)
    for _ in range(2):
        async with worker_with_patience(trading):
            await trading.until_stepped(BARS[9].open_time_ms if market.closed else await market.close_bars(10))
            make_silent_after(trading, 9)
            alarmed = await until_alarmed(trading, 2)
    assert [each.user_id for each in alarmed] == [1, 2]
    assert {(each.reason, each.symbol, each.aggregate_seq) for each in alarmed} == {("feed_silent", "BTCUSDT", 2)}
    assert {each.since for each in alarmed} == {from_ms(BARS[11].open_time_ms)}
    async with worker_with_patience(trading):
        await trading.until_stepped(await market.close_bars(10))
        make_silent_after(trading, 19)
        assert len(await until_alarmed(trading, 4)) == 4  # another silence


@pytest.mark.parametrize(
    ("patience", "more", "silent"),
    [
        (SHORT, timedelta(seconds=-60), False),  # the bar is not two minutes late yet
        (timedelta(minutes=2), timedelta(hours=9), False),  # a replay that has just run ahead
        (SHORT, timedelta(seconds=1), True),
    ],
)
async def test_a_silence_needs_both_clocks_to_pass(
    trading: Trading, patience: timedelta, more: timedelta, silent: bool
) -> None:
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with worker_with_patience(trading, patience):
        market = await trading.market(BARS)
        await trading.until_stepped(await market.close_bars(10))
        make_silent_after(trading, 9, more)
        if silent:
            await until_alarmed(trading, 1)
        else:
            await asyncio.sleep(1.5)  # the worker checks every second
            assert await alarms(trading) == []


async def test_stored_bars_without_events_are_no_silence(trading: Trading) -> None:
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with worker_with_patience(trading):
        market = await trading.market(BARS)
        await trading.until_stepped(await market.close_bars(10))
        last = await market.close_bars(10, announce=False)
        make_silent_after(trading, 9)
        await trading.until_stepped(last)
    assert await alarms(trading) == []


async def test_a_session_stopped_during_a_silence_is_not_notified_again(trading: Trading) -> None:
    session = await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with worker_with_patience(trading):
        market = await trading.market(BARS)
        await trading.until_stepped(await market.close_bars(10))
        make_silent_after(trading, 9)
        await until_alarmed(trading, 1)
        await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
        await market.close_bars(5)
    kinds = [row["kind"] for row in await trading.fetch(RESTRICTIONS)]
    assert kinds == ["FEED_SILENT", "STOPPED"]


async def test_a_session_that_cannot_be_stepped_notifies_once_and_stops_no_other(trading: Trading) -> None:
    bad = await trading.start(await trading.subscribe(1), await trading.strategy(1))
    await trading.start(await trading.subscribe(2), await trading.strategy(2))
    await trading.fetch(
        "UPDATE user_trading_sessions SET strategy_config = $2 WHERE session_id = $1",
        bad.session_id,
        json.dumps({**CROSS, "entry_conditions": {"of": "another time"}}),
    )
    market = await trading.market(BARS)
    last = await market.close_bars(20)
    behind = "SELECT last_bar FROM session_cursors WHERE user_id = 2"
    for _ in range(2):
        async with worker_with_patience(trading, timedelta(hours=1)):
            await eventually(lambda: trading.fetch(behind), lambda rows: rows[0]["last_bar"] == from_ms(last))
            alarmed = await until_alarmed(trading, 1)
    (alarm,) = alarmed
    assert (alarm.user_id, alarm.reason, alarm.aggregate_seq) == (1, "session_failed", 2)
