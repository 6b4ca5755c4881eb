"""Each decision ends in an outcome, and a reason that blocks entries is stored once per stretch of bars."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from services.trading.operations.pause_session import pause_session, resume_session
from services.trading.operations.stop_session import stop_session
from shared.contracts.types import from_ms
from shared.testing.api_client import Json
from tests.as_tenant import as_tenant
from tests.integration.trading.callers import Api
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.integration.trading.test_decisions_http import ALWAYS_LONG
from tests.integration.trading.test_verify import verification_of
from tests.unit.trading.scenes import START_MS, STEP_MS, wavy_bars

ServiceEnv = Callable[[str], dict[str, str]]
DECISIONS = "SELECT * FROM decisions ORDER BY time, kind DESC"
SMALL = {"position_size": {"type": "fixed_quote", "value": "1000"}}
# Enters at every close while flat, and exits after one bar.
RESTLESS: Json = {
    **ALWAYS_LONG,
    "strategy_config": {"interval": "15", "side": "LONG", "indicators": {}},
    "risk_management": {**SMALL, "max_bars": 1},
}


def bar(number: int) -> datetime:
    return from_ms(START_MS + number * STEP_MS)


def restless(**risk: object) -> Json:
    return {**RESTLESS, "risk_management": {**SMALL, "max_bars": 1, **risk}}


async def refusals(trading: Trading) -> list[tuple[str, datetime, datetime | None]]:
    rows = await trading.fetch(DECISIONS)
    return [(row["refusal"], row["time"], row["until"]) for row in rows if row["outcome"] == "refused"]


async def test_every_order_is_filled_or_dropped_and_only_the_last_may_be_pending(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(wavy_bars(120))
        for _ in range(24):
            last = await market.close_bars(5)
            await trading.until_stepped(last)
            pending = await trading.fetch("SELECT time FROM decisions WHERE outcome = 'pending'")
            assert all(row["time"] == from_ms(last) for row in pending)
        await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    rows = await trading.fetch(
        """SELECT d.outcome, d.until, d.time, min(f.time) AS filled FROM decisions d
           LEFT JOIN fills f USING (user_id, decision_id) GROUP BY d.decision_id, d.outcome, d.until, d.time"""
    )
    assert {row["outcome"] for row in rows} <= {"filled", "dropped"}
    assert len(rows) > 20
    assert all((row["outcome"] == "filled") == (row["filled"] is not None) for row in rows)
    assert all(row["until"] == row["filled"] for row in rows if row["outcome"] == "filled")
    assert all(row["until"] >= row["time"] for row in rows)


async def test_a_stop_drops_a_pending_exit_and_its_close_links_to_the_entry(
    trading: Trading,
) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, RESTLESS))
    async with trading.worker():
        market = await trading.market(wavy_bars(2))
        await trading.until_stepped(
            await market.close_bars(2)
        )  # entry filled at the second bar's open, exit decided at its close
        await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    rows = [(row["kind"], row["outcome"], row["time"], row["until"]) for row in await trading.fetch(DECISIONS)]
    assert rows == [("entry", "filled", bar(0), bar(1)), ("exit", "dropped", bar(1), bar(1))]
    (close,) = await trading.fetch(
        "SELECT d.kind, f.reason FROM fills f JOIN decisions d USING (user_id, decision_id) WHERE action = 'close'"
    )
    assert tuple(close) == ("entry", "manual")


async def test_a_pause_is_one_refusal_with_a_known_end(trading: Trading, service_env: ServiceEnv) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, ALWAYS_LONG))
    await as_tenant(trading.database, pause_session, 1, session.session_id)
    market = await trading.market(wavy_bars(40))
    async with trading.worker():
        await trading.until_stepped(await market.close_bars(10))
        assert [each[::2] for each in await refusals(trading)] == [("paused", None)]
        await as_tenant(trading.database, resume_session, 1, session.session_id)
        await trading.until_stepped(await market.close_bars(10))
    ((refusal, since, until),) = await refusals(trading)
    assert (refusal, until) == ("paused", bar(9))
    assert since < bar(9)
    (found,) = await trading.fetch(
        "SELECT count(*) AS n FROM decisions WHERE kind = 'entry' AND outcome = 'filled'"
    )
    assert found["n"] >= 1
    await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    assert (await verification_of(service_env("trading"), session.session_id))["equal"]


async def test_a_session_resumed_without_a_worker_continues_where_it_stopped(
    trading: Trading, service_env: ServiceEnv
) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, ALWAYS_LONG))
    await as_tenant(trading.database, pause_session, 1, session.session_id)
    market = await trading.market(wavy_bars(40))
    async with trading.worker():
        await trading.until_stepped(await market.close_bars(10))
    await as_tenant(trading.database, resume_session, 1, session.session_id)
    async with trading.worker():
        await trading.until_stepped(await market.close_bars(10), within_s=120)
    assert [each[::2] for each in await refusals(trading)] == [("paused", bar(9))]
    (first,) = await trading.fetch("SELECT time FROM fills WHERE action = 'open' ORDER BY time LIMIT 1")
    assert first["time"] == bar(11)
    await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    assert (await verification_of(service_env("trading"), session.session_id))["equal"]


async def test_a_cooldown_and_a_daily_loss_limit_are_stored_once_each_across_workers(trading: Trading) -> None:
    """A day has 96 bars; the first loss of any size reaches its limit."""
    ann = await trading.subscribe(1)
    await trading.start(
        ann, await trading.strategy(1, restless(cooldown_bars=4, max_daily_loss_percentage="0.0001"))
    )
    bars = wavy_bars(105)
    market = await trading.market(bars)
    for _ in range(15):
        async with trading.worker():
            await trading.until_stepped(await market.close_bars(7), within_s=120)
    found = await refusals(trading)
    lost = [each for each in found if each[0] == "max_daily_loss_percentage"]
    assert [each[2] for each in lost[:1]] == [bar(95)]
    assert len(lost) <= 2  # the second day may have its own
    trades = await trading.fetch(
        "SELECT exit_time, pnl FROM user_trades WHERE status = 'CLOSED' ORDER BY exit_time"
    )
    cooled = [each for each in found if each[0] == "cooldown_bars"]
    assert len(cooled) == len([row for row in trades if row["exit_time"] < bar(len(bars) - 1)])
    assert len(found) == len({since for _, since, _ in found})
    rows = [row for row in await trading.fetch(DECISIONS) if row["refusal"] == "max_daily_loss_percentage"]
    day_loss = -sum(row["pnl"] for row in trades if row["exit_time"] < bar(96))
    assert rows[0]["allowed"] == Decimal("0.0001")
    assert rows[0]["asked"] == (day_loss / 10_000 * 100).quantize(Decimal("0.00000001"))


async def test_closes_without_a_new_decision_write_only_the_cursor(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    risk = {"position_size": {"type": "fixed_quote", "value": "4"}}
    await trading.start(ann, await trading.strategy(1, {**ALWAYS_LONG, "risk_management": risk}))
    async with trading.worker():
        market = await trading.market(wavy_bars(40))
        await trading.until_stepped(await market.close_bars(10))
        (before,) = await trading.fetch("SELECT snapshot FROM user_trading_sessions")
        await trading.until_stepped(await market.close_bars(30))
        (after,) = await trading.fetch("SELECT snapshot FROM user_trading_sessions")
    assert before == after
    assert [each[::2] for each in await refusals(trading)] == [("too_small", None)]


@pytest.mark.parametrize(
    ("risk", "limit"),
    [
        ({"cooldown_bars": 7}, "cooldown_bars"),
        ({"max_daily_loss_percentage": "0.0001"}, "max_daily_loss_percentage"),
        ({"position_size": {"type": "fixed_quote", "value": "4"}}, "min_notional"),
    ],
)
async def test_a_refusal_shows_its_figures(api: Api, risk: Json, limit: str) -> None:
    ann = await api.caller()
    made = await ann.call("POST", "/v1/strategies", restless(**risk))
    session = (await ann.start(made.text("strategy_id"))).text("session_id")
    market = await api.trading.market(wavy_bars(30))
    await api.trading.until_stepped(await market.close_bars(30))
    found: list[dict[str, Any]] = await ann.list_all(
        f"/v1/sessions/{session}/decisions?outcome=refused&sort=bar_time"
    )
    assert found
    shown = await ann.must("GET", f"/v1/decisions/{found[0]['decision_id']}")
    assert (shown["outcome"], shown["refused_by"]["limit_name"]) == ("refused", limit)
    allowed, asked = Decimal(shown["refused_by"]["allowed"]), Decimal(shown["refused_by"]["asked"])
    assert (asked < allowed) == (limit != "max_daily_loss_percentage")
    listed = await ann.list_all(f"/v1/sessions/{session}/decisions?sort=bar_time")
    assert {each["outcome"] for each in listed} <= {"pending", "filled", "refused"}
    assert [each for each in listed if each["outcome"] == "refused"] == found


async def test_a_plan_refusal_shows_allowed_and_requested_values(api: Api) -> None:
    ann = await api.caller()
    first = (await ann.call("POST", "/v1/strategies", ALWAYS_LONG)).text("strategy_id")
    second = (await ann.call("POST", "/v1/strategies", {**ALWAYS_LONG, "strategy_name": "b"})).text("strategy_id")
    await ann.start(first)
    limited = (await ann.start(second)).text("session_id")
    market = await api.trading.market(wavy_bars(12))
    await api.trading.subscribe(1, "FREE", strategies=1, symbols=1)
    await api.trading.until_stepped(await market.close_bars(12))
    (found,) = await ann.list_all(f"/v1/sessions/{limited}/decisions?outcome=refused&sort=bar_time")
    refused = (await ann.must("GET", f"/v1/decisions/{found['decision_id']}"))["refused_by"]
    assert (refused["limit_name"], refused["allowed"], refused["asked"]) == ("max_active_strategies", "1", "2")
