"""A session's lifecycle over HTTP: repeated transitions happen once, invalid ones are refused, all are recorded."""

import asyncio
from collections import Counter
from decimal import Decimal

import pytest

from shared.testing.api_client import Json
from tests.integration.trading.callers import Api, Caller, reasons
from tests.unit.trading.scenes import wavy_bars


async def start_session(caller: Caller, **changes: object) -> str:
    answer = await caller.start(await caller.make_strategy(), **changes)
    assert answer.status == 201, answer.body
    return f"/v1/sessions/{answer.text('session_id')}"


async def test_a_repeated_transition_answers_the_same_and_happens_once(api: Api) -> None:
    ann = await api.caller()
    path = await start_session(ann)
    assert (await ann.call("POST", path + "/resume")).body["status"] == "ACTIVE"
    for verb, status in (("pause", "PAUSED"), ("resume", "ACTIVE"), ("stop", "STOPPED")):
        answers = [await ann.call("POST", f"{path}/{verb}") for _ in range(3)]
        assert [(each.status, each.body["status"]) for each in answers] == [(200, status)] * 3
        assert answers[0].body == answers[1].body == answers[2].body
    kinds = [each["kind"] for each in await ann.list_all(path + "/restrictions?sort=restriction_number")]
    assert kinds == ["PAUSED", "RESUMED", "STOPPED"]
    assert len(await api.trading.fetch("SELECT 1 FROM outbox WHERE topic = 'session.stopped'")) == 1


async def test_a_session_shows_what_blocks_its_entries(api: Api) -> None:
    ann = await api.caller()
    first, second = await start_session(ann), await ann.start(await ann.make_strategy(strategy_name="second"))
    assert second.body["entries"] == "ALLOWED"
    await ann.call("POST", first + "/pause")
    await api.trading.subscribe(1, "FREE", strategies=1, symbols=1)
    shown = {each["session_id"]: (each["status"], each["entries"]) for each in await ann.list_all("/v1/sessions")}
    assert shown == {first[-36:]: ("PAUSED", "PAUSED"), second.text("session_id"): ("ACTIVE", "PLAN_LIMIT")}


@pytest.mark.parametrize(("verb", "wanted"), [("pause", "PAUSED"), ("resume", "ACTIVE")])
async def test_a_stopped_session_becomes_nothing_else(api: Api, verb: str, wanted: str) -> None:
    ann = await api.caller()
    path = await start_session(ann)
    await ann.call("POST", path + "/stop")
    answer = await ann.call("POST", f"{path}/{verb}")
    assert (answer.status, answer.body["type"]) == (409, "/problems/session-ended")
    assert (answer.body["from_status"], answer.body["to_status"]) == ("STOPPED", wanted)
    assert answer.body["detail"] == f"a session that is STOPPED cannot become {wanted}"


async def test_fifty_racing_stops_stop_once(api: Api) -> None:
    ann = await api.caller()
    path = await start_session(ann)
    market = await api.trading.market(wavy_bars(60))
    await api.trading.until_stepped(await market.close_bars(59))
    closing = asyncio.create_task(market.close_bars(1))
    answers = await asyncio.gather(
        *(ann.call("POST", path + "/stop", {"reason": ("manual", "end_of_data")[n % 2]}) for n in range(50))
    )
    await closing
    assert all(answer.status == 200 and answer.body == answers[0].body for answer in answers)
    assert len(await api.trading.fetch("SELECT 1 FROM outbox WHERE topic = 'session.stopped'")) == 1
    assert len(await ann.list_all(path + "/restrictions")) == 1
    assert await api.trading.fetch("SELECT 1 FROM user_trades WHERE status = 'OPEN'") == []


async def test_fifty_racing_starts_with_one_key_start_once(api: Api) -> None:
    ann = await api.caller()
    body: Json = {"strategy_id": await ann.make_strategy(), "symbol": "BTCUSDT", "mode": "PAPER"}
    body["initial_balance"] = "10000"
    answers = await asyncio.gather(
        *(ann.call("POST", "/v1/sessions", body, Idempotency_Key="one") for _ in range(50))
    )
    made = {answer.text("session_id") for answer in answers if answer.status == 201}
    assert len(made) == 1
    assert {answer.status for answer in answers} <= {201, 409}
    assert [each["session_id"] for each in await ann.list_all("/v1/sessions")] == [*made]
    assert len(await api.trading.fetch("SELECT 1 FROM outbox WHERE topic = 'session.started'")) == 1


async def test_racing_pauses_resumes_and_stops_leave_a_valid_history(api: Api) -> None:
    ann = await api.caller()
    path = await start_session(ann)
    verbs = [("pause", "resume", "pause", "resume", "stop")[number // 10] for number in range(50)]
    answers = await asyncio.gather(*(ann.call("POST", f"{path}/{verb}") for verb in verbs))
    assert {answer.status for answer in answers} <= {200, 409}
    kinds = [each["kind"] for each in await ann.list_all(path + "/restrictions?sort=restriction_number")]
    assert kinds[-1] == "STOPPED"
    assert Counter(kinds)["STOPPED"] == 1
    assert kinds[:-1] == [("PAUSED", "RESUMED")[number % 2] for number in range(len(kinds) - 1)]
    assert (await ann.call("GET", path)).body["status"] == "STOPPED"


async def test_every_field_of_a_stopped_session_is_filled(api: Api) -> None:
    ann = await api.caller()
    path = await start_session(ann, notes="a try")
    market = await api.trading.market(wavy_bars(80))
    await api.trading.until_stepped(await market.close_bars(80))
    stopped = (await ann.call("POST", path + "/stop", {"reason": "end_of_data"})).body
    empty = {name for name, value in stopped.items() if value is None}
    of_live_sessions = {
        "exchange_account_id",
        "slippage_tolerance_ticks",
        "slippage_tolerance_percentage",
        "max_order_quantity",
    }
    assert empty == {"bot_configuration_id", "entries", "waiting_for", *of_live_sessions}
    trades = await ann.list_all(f"/v1/trades?session_id={stopped['session_id']}&sort=entry_time")
    pnls = [Decimal(trade["pnl"]) for trade in trades]
    assert stopped["total_trades"] == len(pnls) > 5
    assert stopped["winning_trades"] == sum(pnl > 0 for pnl in pnls)
    assert stopped["losing_trades"] == sum(pnl < 0 for pnl in pnls)
    assert Decimal(str(stopped["final_balance"])) == 10_000 + sum(pnls) == Decimal(str(stopped["equity"]))
    assert Decimal(str(stopped["max_drawdown_percentage"])) == deepest_drawdown(pnls) > 0


def deepest_drawdown(pnls: list[Decimal]) -> Decimal:
    """Return the deepest drawdown, in percent of the highest equity before it."""
    equity = highest = Decimal(10_000)
    found = Decimal(0)
    for pnl in pnls:
        equity += pnl
        highest = max(highest, equity)
        found = max(found, ((highest - equity) / highest * 100).quantize(Decimal("0.00000001")))
    return found


async def test_a_stale_etag_cannot_overwrite_a_session_note(api: Api) -> None:
    ann = await api.caller()
    path = await start_session(ann, notes="first")
    shown = await ann.call("GET", path)
    assert shown.body["notes"] == "first"
    tag = shown.headers["ETag"]
    market = await api.trading.market(wavy_bars(10))
    await api.trading.until_stepped(await market.close_bars(10))  # new bars do not make the ETag stale
    assert (await ann.call("PATCH", path, {"notes": "second"}, If_Match=tag)).body["notes"] == "second"
    assert (await ann.call("PATCH", path, {"notes": "third"}, If_Match=tag)).status == 412
    assert (await ann.call("PATCH", path, {"notes": None})).body["notes"] is None
    assert list(reasons(await ann.call("PATCH", path, {"notes": "x" * 2_001}))) == ["$.notes"]


async def test_sessions_are_filtered_and_sorted(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    one, two, three = [
        (await ann.start(strategy_id, symbol=symbol)).body for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT")
    ]
    other = (await ann.start(await ann.make_strategy(strategy_name="other"), symbol="XRPUSDT")).body
    await ann.call("POST", f"/v1/sessions/{two['session_id']}/stop")
    for query, expected in [
        ("", [other, three, two, one]),
        ("sort=created_at", [one, two, three, other]),
        ("sort=-start_time", [other, three, two, one]),
        ("symbol=BTCUSDT", [three, one]),
        ("status=STOPPED", [two]),
        ("status=ACTIVE&symbol=BTCUSDT&sort=-start_time", [three, one]),
        ("mode=PAPER", [other, three, two, one]),
        ("mode=LIVE", []),
        (f"strategy_id={strategy_id}", [three, two, one]),
        (f"from={one['start_time']}", [other, three, two, one]),
        (f"to={one['start_time']}", []),
    ]:
        found = [each["session_id"] for each in await ann.list_all(f"/v1/sessions?{query}", limit=2)]
        wanted = [each["session_id"] for each in expected]
        assert (query, Counter(found)) == (query, Counter(wanted))
        if "start_time" not in query:
            assert (query, found) == (query, wanted)
