"""A feed that stays silent: nothing is entered, what is open is still left, and tenants are told, once."""

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
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS, STEP_MS, wavy_bars

SHORT = timedelta(milliseconds=100)
BARS = wavy_bars(120)
RESTRICTIONS = "SELECT kind, after_bar FROM session_restrictions ORDER BY restriction_number"


@asynccontextmanager
async def listening(trading: Trading, patience: timedelta = SHORT) -> AsyncIterator[None]:
    """A worker that waits only so long by its own clock."""
    stop = asyncio.Event()
    running = asyncio.create_task(Worker(trading.database, trading.settings, trading.clock, patience).run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


def silent_after(trading: Trading, bar: int, more: timedelta = timedelta(seconds=1)) -> None:
    """The exchange's clock stands two minutes beyond the end of the bar after this one, and more."""
    trading.clock.see(from_ms(BARS[bar].open_time_ms + 2 * STEP_MS) + LONGEST_SILENCE + more)


async def alarms(trading: Trading) -> list[SessionAlarmed]:
    query = "SELECT payload FROM outbox WHERE topic = 'session.alarmed' ORDER BY user_id, id"
    return [SessionAlarmed.model_validate_json(row["payload"]) for row in await trading.see(query)]


async def marked(trading: Trading, count: int) -> list[SessionAlarmed]:
    return await eventually(lambda: alarms(trading), lambda rows: len(rows) >= count)


async def test_late_bars_of_a_silence_are_stepped_without_entries_and_marked_late(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    await trading.start(ann, await trading.strategy(1))
    async with listening(trading):
        market = await trading.market(BARS)
        await trading.until_at(await market.tell(40))
        silent_after(trading, 80)
        await marked(trading, 1)
        await trading.until_at(await market.tell(40, said=False))
        silent = from_ms(BARS[40].open_time_ms), from_ms(BARS[79].open_time_ms)
        entered = "SELECT count(*) AS n FROM decisions WHERE kind = 'entry' AND outcome <> 'refused' AND time >= $1"
        (before,) = await trading.see(entered, silent[0])
        assert before["n"] == 0
        refused = await trading.see("SELECT refusal, time FROM decisions WHERE outcome = 'refused' ORDER BY time")
        assert len(refused) > 3
        assert {row["refusal"] for row in refused} == {"feed_silent"}
        assert all(silent[0] <= row["time"] <= silent[1] for row in refused)
        late = await trading.see("SELECT late, reason FROM fills WHERE time BETWEEN $1 AND $2", *silent)
        assert all(row["late"] for row in late)
        await trading.until_at(await market.tell(40))
        (after,) = await trading.see(entered, silent[0])
        assert after["n"] > 0
    held = [tuple(row) for row in await trading.see(RESTRICTIONS)]
    assert held == [("FEED_SILENT", from_ms(BARS[39].open_time_ms)), ("FEED_SILENT_LIFTED", silent[1])]


async def test_each_tenant_is_told_once_of_a_silence_whoever_works_his_session(trading: Trading) -> None:
    for user_id in (1, 2):
        await trading.start(await trading.subscribe(user_id), await trading.strategy(user_id))
    market = await trading.market(BARS)
    for _ in range(2):
        async with listening(trading):
            await trading.until_at(BARS[9].open_time_ms if market.told else await market.tell(10))
            silent_after(trading, 9)
            told = await marked(trading, 2)
    assert [each.user_id for each in told] == [1, 2]
    assert {(each.reason, each.symbol, each.aggregate_seq) for each in told} == {("feed_silent", "BTCUSDT", 2)}
    assert {each.since for each in told} == {from_ms(BARS[11].open_time_ms)}
    async with listening(trading):
        await trading.until_at(await market.tell(10))
        silent_after(trading, 19)
        assert len(await marked(trading, 4)) == 4  # another silence


@pytest.mark.parametrize(
    ("patience", "more", "silent"),
    [
        (SHORT, timedelta(seconds=-60), False),  # the bar is not two minutes late yet
        (timedelta(minutes=2), timedelta(hours=9), False),  # a replay that ran ahead, a moment ago
        (SHORT, timedelta(seconds=1), True),
    ],
)
async def test_it_is_silent_only_after_both_clocks_have_passed(
    trading: Trading, patience: timedelta, more: timedelta, silent: bool
) -> None:
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with listening(trading, patience):
        market = await trading.market(BARS)
        await trading.until_at(await market.tell(10))
        silent_after(trading, 9, more)
        if silent:
            await marked(trading, 1)
        else:
            await asyncio.sleep(1.5)  # it listens every second
            assert await alarms(trading) == []


async def test_bars_that_are_stored_and_were_not_said_are_no_silence(trading: Trading) -> None:
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with listening(trading):
        market = await trading.market(BARS)
        await trading.until_at(await market.tell(10))
        last = await market.tell(10, said=False)
        silent_after(trading, 9)
        await trading.until_at(last)
    assert await alarms(trading) == []


async def test_a_session_that_stopped_in_a_silence_is_not_told_of_it_again(trading: Trading) -> None:
    session = await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with listening(trading):
        market = await trading.market(BARS)
        await trading.until_at(await market.tell(10))
        silent_after(trading, 9)
        await marked(trading, 1)
        await stop_session(trading.database, 1, session.session_id, "manual", BEFORE)
        await market.tell(5)
    kinds = [row["kind"] for row in await trading.see(RESTRICTIONS)]
    assert kinds == ["FEED_SILENT", "STOPPED"]


async def test_a_session_that_cannot_be_stepped_tells_its_tenant_once_and_no_other_stops(trading: Trading) -> None:
    bad = await trading.start(await trading.subscribe(1), await trading.strategy(1))
    await trading.start(await trading.subscribe(2), await trading.strategy(2))
    await trading.see(
        "UPDATE user_trading_sessions SET strategy_config = $2 WHERE session_id = $1",
        bad.session_id,
        json.dumps({**CROSS, "entry_conditions": {"of": "another time"}}),
    )
    market = await trading.market(BARS)
    last = await market.tell(20)
    behind = "SELECT last_bar FROM user_trading_sessions WHERE user_id = 2"
    for _ in range(2):
        async with listening(trading, timedelta(hours=1)):
            await eventually(lambda: trading.see(behind), lambda rows: rows[0]["last_bar"] == from_ms(last))
            told = await marked(trading, 1)
    (alarm,) = told
    assert (alarm.user_id, alarm.reason, alarm.aggregate_seq) == (1, "session_failed", 2)
