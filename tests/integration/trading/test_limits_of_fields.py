"""Names, texts and amounts have the same limits at every endpoint, and stored values never make a response fail."""

from decimal import Decimal

import pytest

from shared.testing.api_client import Answer, Json
from tests.integration.trading.callers import Api, Caller, reasons
from tests.unit.trading.scenes import CROSS

BAD_NAMES = [
    "",
    "   ",
    "\u200b",
    "up\n\x1b[31mred",
    "a\u202eb",
    "a\u2066b",
    "\ufeff",
    "x" * 3_000,
    "x" * 101,
    "\u3164",
]
BAD_AMOUNTS = [
    "99999999999999999999.999999999999999999", "60000000000000000000", "10000000000.123456789012345678",
    "1000000000000.00000001", "0.000000001",
]  # fmt: skip


async def _refused(answer: Answer, path: str) -> None:
    assert answer.status == 422, answer.body
    assert path in reasons(answer)


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_bad_name_is_refused_at_every_endpoint(api: Api, name: str) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    own = f"/v1/strategies/{strategy_id}"
    document: Json = {**CROSS, "strategy_name": name}
    await _refused(await ann.call("POST", "/v1/strategies", document), "$.strategy_name")
    await _refused(await ann.call("PUT", own, document), "$.strategy_name")
    await _refused(await ann.call("POST", own + "/versions", document), "$.strategy_name")
    await _refused(await ann.call("POST", own + "/publish", {"display_name": name}), "$.display_name")
    shown = await ann.call("POST", own + "/publish", {"display_name": "Ada"})
    copy = f"/v1/strategies/published/{shown.text('published_strategy_id')}/copy"
    await _refused(await ann.call("POST", copy, {"strategy_name": name}), "$.strategy_name")
    template = (await ann.list_all("/v1/strategies/templates"))[0]["template_id"]
    await _refused(
        await ann.call("POST", f"/v1/strategies/templates/{template}/copy", {"strategy_name": name}),
        "$.strategy_name",
    )
    await _refused(await ann.call("POST", "/v1/bot-configurations", {"config_name": name}), "$.config_name")
    assert len(await ann.list_all("/v1/strategies")) == 1


async def test_names_and_descriptions_are_trimmed(api: Api) -> None:
    ann = await api.caller()
    body = {**CROSS, "strategy_name": "  café 🚀\u00a0", "strategy_description": " one\r\ntwo \n"}
    made = (await ann.call("POST", "/v1/strategies", body)).body
    assert (made["strategy_name"], made["strategy_description"]) == ("café 🚀", "one\ntwo")
    await _refused(
        await ann.call("POST", "/v1/strategies", {**CROSS, "strategy_description": "x" * 2_001}),
        "$.strategy_description",
    )
    await _refused(
        await ann.call("POST", "/v1/strategies", {**CROSS, "strategy_description": "a\u202eb"}),
        "$.strategy_description",
    )


async def test_config_data_may_not_contain_invisible_text(api: Api) -> None:
    ann = await api.caller()
    for data in ({"note": "a\u200bb"}, {"a\u202e": 1}, {"list": [{"deep": "\x1b"}]}):
        await _refused(
            await ann.call("POST", "/v1/bot-configurations", {"config_name": "a", "config_data": data}),
            "$.config_data",
        )


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
async def test_an_amount_out_of_bounds_is_refused_at_every_endpoint(api: Api, amount: str) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    await _refused(await ann.start(strategy_id, initial_balance=amount), "$.initial_balance")
    for name in ("max_position_size", "stop_loss_percentage", "take_profit_percentage"):
        body: Json = {"config_name": "a", name: amount}
        await _refused(await ann.call("POST", "/v1/bot-configurations", body), f"$.{name}")
    data = {"min_stop_distance_percentage": amount}
    await _refused(
        await ann.call("POST", "/v1/bot-configurations", {"config_name": "a", "config_data": data}), "$.config_data"
    )


async def test_the_largest_balance_is_returned_to_the_last_digit(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    session = await ann.start(strategy_id, initial_balance="999999999999.99999999")
    assert session.status == 201, session.body
    stopped = await ann.call("POST", f"/v1/sessions/{session.text('session_id')}/stop")
    assert stopped.body["final_balance"] == stopped.body["equity"] == "999999999999.99999999"


async def test_values_stored_before_the_limits_are_still_shown_and_stopped(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    started = await ann.start(strategy_id)
    session = f"/v1/sessions/{started.text('session_id')}"
    await ann.call("POST", "/v1/bot-configurations", {"config_name": "old", "max_position_size": "1"})
    await _store_extremes(api)
    for path in (
        "/v1/strategies", f"/v1/strategies/{strategy_id}", f"/v1/strategies/{strategy_id}/versions",
        "/v1/sessions", session, "/v1/bot-configurations", "/v1/sessions/limits",
    ):  # fmt: skip
        assert ((answer := await ann.call("GET", path)).status, path) == (200, path), answer.body
    stopped = await ann.call("POST", session + "/stop")
    assert stopped.status == 200, stopped.body
    assert Decimal(stopped.text("final_balance")) == Decimal("60000000000000000000.123456789012345678")
    await _assert_not_publishable(ann, strategy_id)


async def _store_extremes(api: Api) -> None:
    bad_name = "old\u202e" + "x" * 500
    await api.trading.fetch("UPDATE user_strategies SET strategy_name = $1, avg_pnl = 1e30 RETURNING 1", bad_name)
    named = "document || jsonb_build_object('strategy_name', $1::text)"
    await api.trading.fetch(f"UPDATE strategy_versions SET document = {named} RETURNING 1", bad_name)
    await api.trading.fetch(
        """
        UPDATE user_trading_sessions SET initial_balance = 60000000000000000000.123456789012345678,
               strategy_config = strategy_config || jsonb_build_object('strategy_name', $1::text) RETURNING 1
        """,
        bad_name,
    )
    await api.trading.fetch("UPDATE user_bot_configurations SET max_position_size = 1e40 RETURNING 1")


async def _assert_not_publishable(ann: Caller, strategy_id: str) -> None:
    answer = await ann.call("POST", f"/v1/strategies/{strategy_id}/publish", {"display_name": "Ada"})
    await _refused(answer, "$.strategy_name")


async def test_a_strategy_published_before_the_limits_is_copied_under_a_new_name(api: Api) -> None:
    ann = await api.caller()
    own = f"/v1/strategies/{await ann.make_strategy()}"
    shown = (await ann.call("POST", own + "/publish", {"display_name": "Ada"})).text("published_strategy_id")
    await api.trading.fetch(
        """
        UPDATE published_strategies SET strategy_name = E'a\\u202eb',
               document = document || jsonb_build_object('strategy_name', E'a\\u202eb'::text) RETURNING 1
        """
    )
    copy = f"/v1/strategies/published/{shown}/copy"
    await _refused(await ann.call("POST", copy, {}), "$.strategy_name")
    assert (await ann.call("POST", copy, {"strategy_name": "mine"})).status == 201
