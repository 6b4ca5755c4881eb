"""Each decision ends in an outcome, and what keeps a bot from entering is stored once per stretch."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from services.trading.operations.pause_session import pause_session, resume_session
from services.trading.operations.stop_session import stop_session
from shared.contracts.types import from_ms
from tests.integration.accounts import Json
from tests.integration.trading.callers import Api, every
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.integration.trading.test_decisions_http import ALWAYS_LONG, one
from tests.integration.trading.test_verify import verified
from tests.unit.trading.scenes import START_MS, STEP_MS, wavy_bars

ServiceEnv = Callable[[str], dict[str, str]]
DECISIONS = "SELECT * FROM decisions ORDER BY time, kind DESC"
SMALL = {"position_size": {"type": "fixed_quote", "value": "1000"}}
# It enters at every close at which it is flat, and leaves after one bar.
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
    rows = await trading.see(DECISIONS)
    return [(row["refusal"], row["time"], row["until"]) for row in rows if row["outcome"] == "refused"]


async def test_every_order_is_filled_or_dropped_and_only_the_last_may_be_pending(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(wavy_bars(120))
        for _ in range(24):
            last = await market.tell(5)
            await trading.until_at(last)
            pending = await trading.see("SELECT time FROM decisions WHERE outcome = 'pending'")
            assert all(row["time"] == from_ms(last) for row in pending)
        await stop_session(trading.database, 1, session.session_id, "manual", BEFORE)
    rows = await trading.see(
        """SELECT d.outcome, d.until, d.time, min(f.time) AS filled FROM decisions d
           LEFT JOIN fills f USING (user_id, decision_id) GROUP BY d.decision_id, d.outcome, d.until, d.time"""
    )
    assert {row["outcome"] for row in rows} <= {"filled", "dropped"}
    assert len(rows) > 20
    assert all((row["outcome"] == "filled") == (row["filled"] is not None) for row in rows)
    assert all(row["until"] == row["filled"] for row in rows if row["outcome"] == "filled")
    assert all(row["until"] >= row["time"] for row in rows)


async def test_an_exit_that_a_stop_came_before_is_dropped_and_the_close_leads_to_the_entry(
    trading: Trading,
) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, RESTLESS))
    async with trading.worker():
        market = await trading.market(wavy_bars(2))
        await trading.until_at(await market.tell(2))  # in at the second bar's open, out decided at its close
        await stop_session(trading.database, 1, session.session_id, "manual", BEFORE)
    rows = [(row["kind"], row["outcome"], row["time"], row["until"]) for row in await trading.see(DECISIONS)]
    assert rows == [("entry", "filled", bar(0), bar(1)), ("exit", "dropped", bar(1), bar(1))]
    (close,) = await trading.see(
        "SELECT d.kind, f.reason FROM fills f JOIN decisions d USING (user_id, decision_id) WHERE action = 'close'"
    )
    assert tuple(close) == ("entry", "manual")


async def test_a_pause_is_one_refusal_and_its_end_is_known(trading: Trading, service_env: ServiceEnv) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, ALWAYS_LONG))
    await pause_session(trading.database, 1, session.session_id)
    market = await trading.market(wavy_bars(40))
    async with trading.worker():
        await trading.until_at(await market.tell(10))
        assert [each[::2] for each in await refusals(trading)] == [("paused", None)]
        await resume_session(trading.database, 1, session.session_id)
        await trading.until_at(await market.tell(10))
    ((refusal, since, until),) = await refusals(trading)
    assert (refusal, until) == ("paused", bar(9))
    assert since < bar(9)
    (found,) = await trading.see("SELECT count(*) AS n FROM decisions WHERE kind = 'entry' AND outcome = 'filled'")
    assert found["n"] >= 1
    await stop_session(trading.database, 1, session.session_id, "manual", BEFORE)
    assert (await verified(service_env("trading"), session.session_id))["equal"]


async def test_a_session_resumed_while_nobody_worked_it_is_taken_up_where_it_stood(
    trading: Trading, service_env: ServiceEnv
) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, ALWAYS_LONG))
    await pause_session(trading.database, 1, session.session_id)
    market = await trading.market(wavy_bars(40))
    async with trading.worker():
        await trading.until_at(await market.tell(10))
    await resume_session(trading.database, 1, session.session_id)
    async with trading.worker():
        await trading.until_at(await market.tell(10), within_s=120)
    assert [each[::2] for each in await refusals(trading)] == [("paused", bar(9))]
    (first,) = await trading.see("SELECT time FROM fills WHERE action = 'open' ORDER BY time LIMIT 1")
    assert first["time"] == bar(11)
    await stop_session(trading.database, 1, session.session_id, "manual", BEFORE)
    assert (await verified(service_env("trading"), session.session_id))["equal"]


async def test_a_cooldown_and_a_days_losses_are_stored_once_each_whoever_takes_over(trading: Trading) -> None:
    """96 bars are a day; the first loss of any size ends it."""
    ann = await trading.subscribe(1)
    await trading.start(
        ann, await trading.strategy(1, restless(cooldown_bars=4, max_daily_loss_percentage="0.0001"))
    )
    bars = wavy_bars(105)
    market = await trading.market(bars)
    for _ in range(15):
        async with trading.worker():
            await trading.until_at(await market.tell(7), within_s=120)
    found = await refusals(trading)
    lost = [each for each in found if each[0] == "max_daily_loss_percentage"]
    assert [each[2] for each in lost[:1]] == [bar(95)]
    assert len(lost) <= 2  # the second day may have its own
    trades = await trading.see("SELECT exit_time, pnl FROM user_trades WHERE status = 'CLOSED' ORDER BY exit_time")
    cooled = [each for each in found if each[0] == "cooldown_bars"]
    assert len(cooled) == len([row for row in trades if row["exit_time"] < bar(len(bars) - 1)])
    assert len(found) == len({since for _, since, _ in found})
    rows = [row for row in await trading.see(DECISIONS) if row["refusal"] == "max_daily_loss_percentage"]
    day_loss = -sum(row["pnl"] for row in trades if row["exit_time"] < bar(96))
    assert rows[0]["allowed"] == Decimal("0.0001")
    assert rows[0]["asked"] == (day_loss / 10_000 * 100).quantize(Decimal("0.00000001"))


async def test_quiet_closes_of_a_stretch_write_nothing_but_the_cursor(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    risk = {"position_size": {"type": "fixed_quote", "value": "4"}}
    await trading.start(ann, await trading.strategy(1, {**ALWAYS_LONG, "risk_management": risk}))
    async with trading.worker():
        market = await trading.market(wavy_bars(40))
        await trading.until_at(await market.tell(10))
        (before,) = await trading.see("SELECT snapshot FROM user_trading_sessions")
        await trading.until_at(await market.tell(30))
        (after,) = await trading.see("SELECT snapshot FROM user_trading_sessions")
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
async def test_why_it_did_not_trade_is_answered_with_figures(api: Api, risk: Json, limit: str) -> None:
    ann = await api.caller()
    made = await ann.call("POST", "/v1/strategies", restless(**risk))
    session = (await ann.start(made.text("strategy_id"))).text("session_id")
    market = await api.trading.market(wavy_bars(30))
    await api.trading.until_at(await market.tell(30))
    found: list[dict[str, Any]] = await every(ann, f"/v1/sessions/{session}/decisions?outcome=refused")
    assert found
    shown = await one(ann, f"/v1/decisions/{found[0]['decision_id']}")
    assert (shown["outcome"], shown["refused_by"]["limit"]) == ("refused", limit)
    allowed, asked = Decimal(shown["refused_by"]["allowed"]), Decimal(shown["refused_by"]["asked"])
    assert (asked < allowed) == (limit != "max_daily_loss_percentage")
    listed = await every(ann, f"/v1/sessions/{session}/decisions")
    assert {each["outcome"] for each in listed} <= {"pending", "filled", "refused"}
    assert [each for each in listed if each["outcome"] == "refused"] == found


async def test_a_plan_that_refuses_is_told_with_what_was_asked(api: Api) -> None:
    ann = await api.caller()
    first = (await ann.call("POST", "/v1/strategies", ALWAYS_LONG)).text("strategy_id")
    second = (await ann.call("POST", "/v1/strategies", {**ALWAYS_LONG, "strategy_name": "b"})).text("strategy_id")
    await ann.start(first)
    limited = (await ann.start(second)).text("session_id")
    market = await api.trading.market(wavy_bars(12))
    await api.trading.subscribe(1, "FREE", strategies=1, symbols=1)
    await api.trading.until_at(await market.tell(12))
    (found,) = await every(ann, f"/v1/sessions/{limited}/decisions?outcome=refused")
    refused = (await one(ann, f"/v1/decisions/{found['decision_id']}"))["refused_by"]
    assert (refused["limit"], refused["allowed"], refused["asked"]) == ("max_active_strategies", "1", "2")
