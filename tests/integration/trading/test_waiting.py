"""A session without a bar a minute after one was due shows what it waits for, and its tenant is notified once."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.trading.domain import Waiting, awaited_bar
from services.trading.worker.overdue_bars import WAITING
from shared.contracts.types import from_ms, instant_text
from tests.integration.accounts import eventually
from tests.integration.trading.callers import Api, Caller
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.integration.trading.test_silence import BARS, SHORT, alarms, worker_with_patience
from tests.unit.trading.scenes import START_MS, STEP_MS

MINUTE, STEP = timedelta(minutes=1), timedelta(milliseconds=STEP_MS)
MARKS = "SELECT waiting_for, waiting_since, waiting_expected FROM session_leases"


def bar(number: int) -> datetime:
    return from_ms(START_MS + number * STEP_MS)


async def until_waiting_for(trading: Trading, what: str | None) -> tuple[Any, ...]:
    rows = await eventually(lambda: trading.fetch(MARKS), lambda rows: rows[0]["waiting_for"] == what)
    return tuple(rows[0])


async def hold_feed_lease(trading: Trading) -> None:
    await trading.fetch("INSERT INTO feed_lease VALUES (true, 'a feed', now() + interval '1 hour')")


@pytest.mark.parametrize(
    ("last_bar", "has_history", "expected"),
    [
        (None, False, Waiting("history", bar(3), bar(3))),
        (None, True, Waiting("first_bar", bar(3), bar(5))),
        (bar(7), True, Waiting("bar", bar(8), bar(9))),
    ],
)
def test_the_awaited_bar_follows_from_the_sessions_progress(
    last_bar: datetime | None, has_history: bool, expected: Waiting
) -> None:
    assert awaited_bar(bar(3), last_bar, "15", has_history=has_history) == expected


async def test_a_session_without_candles_alarms_once_across_workers_until_they_arrive(
    trading: Trading,
) -> None:
    await hold_feed_lease(trading)
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    for _ in range(2):
        async with worker_with_patience(trading, 2 * SHORT):
            trading.clock.see(BEFORE + MINUTE + timedelta(seconds=1))
            assert await until_waiting_for(trading, "history") == ("history", BEFORE, BEFORE)
            await asyncio.sleep(1.5)
    (alarm,) = await alarms(trading)
    assert (alarm.reason, alarm.since) == ("waiting_for_history", BEFORE)
    assert WAITING.labels("history")._value.get() == 1
    async with worker_with_patience(trading, timedelta(hours=1)):
        market = await trading.market(BARS)
        await market.close_bars(3)
        await until_waiting_for(trading, None)
        await eventually(lambda: _gauge(), lambda value: value == 0)
    assert len(await alarms(trading)) == 1


async def _gauge() -> float:
    return float(WAITING.labels("history")._value.get())


async def test_nothing_is_marked_within_the_minute_or_before_the_workers_patience_ends(trading: Trading) -> None:
    await hold_feed_lease(trading)
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with worker_with_patience(trading, 2 * SHORT):
        trading.clock.see(BEFORE + timedelta(seconds=50))
        await asyncio.sleep(1.5)
    async with worker_with_patience(trading, timedelta(hours=1)):
        trading.clock.see(BEFORE + timedelta(hours=9))
        await asyncio.sleep(1.5)
    assert await alarms(trading) == []


async def test_a_missing_first_bar_and_a_stopped_feed_are_distinguished(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    market = await trading.market(BARS)
    await market.close_bars(5)
    await trading.start(ann, await trading.strategy(1), venue_now=bar(5) + MINUTE)
    async with worker_with_patience(trading, 2 * SHORT):
        trading.clock.see(bar(7) + timedelta(seconds=50))  # the clock keeps running
        await asyncio.sleep(1.5)
        assert "waiting_for_feed" not in [each.reason for each in await alarms(trading)]
        trading.clock.see(bar(7) + timedelta(seconds=61))
        assert await until_waiting_for(trading, "feed") == ("feed", bar(5) + MINUTE, bar(7))
    await trading.fetch("UPDATE session_leases SET waiting_for = NULL")
    await hold_feed_lease(trading)
    async with worker_with_patience(trading, 2 * SHORT):
        assert (await until_waiting_for(trading, "first_bar"))[0] == "first_bar"
    reasons = [each.reason for each in await alarms(trading)]
    assert [reason for reason in reasons if reason.startswith("waiting")] == [
        "waiting_for_feed",
        "waiting_for_first_bar",
    ]


async def test_a_missing_later_bar_is_shown_after_a_minute(trading: Trading) -> None:
    await hold_feed_lease(trading)
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with worker_with_patience(trading, 2 * SHORT):
        market = await trading.market(BARS)
        await trading.until_stepped(await market.close_bars(10))
        trading.clock.see(bar(11) + MINUTE + timedelta(seconds=1))
        assert await until_waiting_for(trading, "bar") == ("bar", bar(10), bar(11))
        await trading.until_stepped(await market.close_bars(3))
        await until_waiting_for(trading, None)
    assert [each for each in await alarms(trading) if each.reason.startswith("waiting")] == []


async def test_waiting_is_shown_with_the_session_and_changes_its_etag(api_without_worker: Api) -> None:
    api = api_without_worker
    ann: Caller = await api.caller()
    session = (await ann.start(await ann.make_strategy())).text("session_id")
    path = f"/v1/sessions/{session}"
    before = await ann.call("GET", path)
    assert before.body["waiting_for"] is None
    await hold_feed_lease(api.trading)
    api.trading.exchange.now_ms += 120_000
    async with worker_with_patience(api.trading, 2 * SHORT):
        api.trading.clock.see(BEFORE + 2 * MINUTE)

        async def shown() -> Any:
            return (await ann.call("GET", path)).body["waiting_for"]

        found = await eventually(shown, bool, 30)
    assert (found["what"], found["since_time"], found["expected_time"]) == ("history", *[instant_text(BEFORE)] * 2)
    assert "candles" in found["detail"]
    assert (await ann.call("GET", path)).headers["ETag"] != before.headers["ETag"]
    (listed,) = await ann.list_all("/v1/sessions")
    assert listed["waiting_for"] == found
