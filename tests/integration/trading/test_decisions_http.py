"""Why a bot traded or did not: fills, trades and decisions link to each other, and a refusal names its limit."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from shared.testing.api_client import Json
from tests.integration.trading.callers import Api, Caller
from tests.unit.trading.scenes import CROSS, wavy_bars

ALWAYS_LONG: Json = {
    **CROSS,
    "strategy_name": "always long",
    "strategy_config": {"interval": "15", "side": "LONG", "indicators": {"atr": {"type": "ATR", "period": 3}}},
    "entry_conditions": {"left": "close", "op": ">", "right": 0},
    "exit_conditions": None,
    "risk_management": {
        "position_size": {"type": "fixed_quote", "value": "1000"},
        "stop_loss": {"type": "atr", "value": "2", "indicator": "atr"},
        "take_profits": [{"type": "percent", "value": "7", "close_percent": "100"}],
    },
}


async def trade_bars(api: Api, ann: Caller, bars: int = 90) -> str:
    session = (await ann.start(await ann.make_strategy())).text("session_id")
    market = await api.trading.market(wavy_bars(bars))
    await api.trading.until_stepped(await market.close_bars(bars))
    return session


async def test_fills_trades_and_decisions_link_to_each_other(api: Api) -> None:
    ann = await api.caller()
    await trade_bars(api, ann)
    fills = await ann.list_all("/v1/fills?sort=fill_time")
    assert len(fills) > 12
    for fill in fills[:12]:
        assert await ann.must("GET", f"/v1/fills/{fill['fill_id']}") == fill
        decision = await ann.must("GET", f"/v1/decisions/{fill['decision_id']}")
        assert fill in decision["fills"]
        assert fill["fill_id"] in decision["fill_ids"]
        assert decision["trade_id"] == fill["trade_id"]
        trade = await ann.must("GET", f"/v1/trades/{fill['trade_id']}")
        assert decision["decision_id"] in trade["decision_ids"]
        assert decision["bar_time"] < fill["fill_time"]
        assert decision["created_at"] <= decision["filled_at"] <= fill["created_at"]
        its_fills = await ann.list_all(f"/v1/fills?trade_id={trade['trade_id']}&sort=fill_time")
        assert its_fills == [each for each in fills if each["trade_id"] == trade["trade_id"]]
        assert trade["mode"] == "PAPER"
        assert trade["reason"] == (its_fills[-1]["reason"] if trade["status"] == "CLOSED" else None)


async def test_a_decision_is_explained_by_its_strategy_version(api: Api) -> None:
    ann = await api.caller()
    await trade_bars(api, ann)
    (found, *_) = await ann.list_all("/v1/decisions?kind=entry&outcome=filled&sort=bar_time")
    shown = await ann.must("GET", f"/v1/decisions/{found['decision_id']}")
    version = await ann.must("GET", f"/v1/strategies/{shown['strategy_id']}/versions/{shown['strategy_version']}")
    assert shown["strategy_hash"] == version["content_hash"]
    assert set(shown["values"]) == {"close", "fast", "slow"}
    side = shown["side"].lower()
    assert shown["checks"][f"entry.{side}"] is True
    assert shown["checks"]["guard"] is True
    assert shown["refused_by"] is None


@pytest.mark.parametrize(
    ("configuration", "limit"),
    [
        ({"max_position_size": "500"}, "max_position_size"),
        ({"stop_loss_percentage": "0.01"}, "stop_loss_percentage"),
        ({"take_profit_percentage": "6.5"}, "take_profit_percentage"),
        ({"config_data": {"min_stop_distance_percentage": "50"}}, "min_stop_distance_percentage"),
    ],
)
async def test_a_configuration_refusal_shows_its_figures(api: Api, configuration: Json, limit: str) -> None:
    ann = await api.caller()
    made = await ann.call("POST", "/v1/bot-configurations", {"config_name": "tight", **configuration})
    strategy_id = (await ann.call("POST", "/v1/strategies", ALWAYS_LONG)).text("strategy_id")
    await ann.start(strategy_id, bot_configuration_id=made.text("bot_configuration_id"))
    market = await api.trading.market(wavy_bars(8))
    await api.trading.until_stepped(await market.close_bars(8))
    refused = await ann.list_all("/v1/decisions?outcome=refused&sort=bar_time")
    shown = await ann.must("GET", f"/v1/decisions/{refused[0]['decision_id']}")
    assert (shown["refusal"], shown["refused_by"]["limit_name"]) == (limit, limit)
    given = configuration.get("config_data", configuration)
    allowed, asked = Decimal(shown["refused_by"]["allowed"]), Decimal(shown["refused_by"]["asked"])
    assert allowed == Decimal(str(given[limit]))
    assert (asked < allowed) == limit.startswith("min_")
    assert asked == expected_of(limit, shown)
    assert await ann.list_all("/v1/fills") == []


def expected_of(limit: str, shown: Mapping[str, Any]) -> Decimal:
    close, atr = (Decimal(repr(shown["values"][name])) for name in ("close", "atr"))
    match limit:
        case "max_position_size":
            return Decimal(shown["quantity"]) * close
        case "take_profit_percentage":
            return Decimal(7)
    return (2 * atr * 100 / close).quantize(Decimal("0.00000001"))


async def test_an_entry_below_the_exchange_minimum_shows_the_minimum(api: Api) -> None:
    ann = await api.caller()
    risk = {"position_size": {"type": "fixed_quote", "value": "4"}}
    strategy_id = (await ann.call("POST", "/v1/strategies", {**ALWAYS_LONG, "risk_management": risk})).text(
        "strategy_id"
    )
    await ann.start(strategy_id)
    market = await api.trading.market(wavy_bars(8))
    await api.trading.until_stepped(await market.close_bars(8))
    (found, *_) = await ann.list_all("/v1/decisions?refusal=too_small&sort=bar_time")
    shown = (await ann.must("GET", f"/v1/decisions/{found['decision_id']}"))["refused_by"]
    assert (shown["limit_name"], shown["allowed"]) == ("min_notional", "5")
    assert 3 < Decimal(shown["asked"]) <= 4
    assert await ann.list_all("/v1/decisions?refusal=no_equity") == []
    assert (await ann.call("GET", "/v1/decisions?outcome=too_small")).status == 422


async def test_refusals_by_a_pause_and_by_the_plan_are_named(api: Api) -> None:
    ann = await api.caller()
    first = (await ann.call("POST", "/v1/strategies", ALWAYS_LONG)).text("strategy_id")
    second = (await ann.call("POST", "/v1/strategies", {**ALWAYS_LONG, "strategy_name": "b"})).text("strategy_id")
    paused = (await ann.start(first)).text("session_id")
    limited = (await ann.start(second)).text("session_id")
    market = await api.trading.market(wavy_bars(8))
    await ann.call("POST", f"/v1/sessions/{paused}/pause")
    await api.trading.subscribe(1, "FREE", strategies=1, symbols=1)
    await api.trading.until_stepped(await market.close_bars(8))
    for session, expected in (
        (paused, {"limit_name": "paused", "allowed": None, "plan": None}),
        (limited, {"limit_name": "max_active_strategies", "allowed": "1", "plan": "FREE"}),
    ):
        (found, *_) = await ann.list_all(f"/v1/decisions?session_id={session}&outcome=refused&sort=bar_time")
        refused = (await ann.must("GET", f"/v1/decisions/{found['decision_id']}"))["refused_by"]
        assert refused.items() >= expected.items()


async def test_lists_are_filtered_by_time_and_symbol_and_sorted_both_ways(api: Api) -> None:
    ann = await api.caller()
    session = await trade_bars(api, ann)
    for path, field in (("fills", "fill_time"), ("decisions", "bar_time"), ("trades", "entry_time")):
        every_one = await ann.list_all(f"/v1/{path}")
        times = [each[field] for each in every_one]
        assert times == sorted(times, reverse=True)
        middle = times[len(times) // 2]
        assert await ann.list_all(f"/v1/{path}?to={middle}") == [each for each in every_one if each[field] < middle]
        assert await ann.list_all(f"/v1/{path}?from={middle}") == [
            each for each in every_one if each[field] >= middle
        ]
        backwards = await ann.list_all(f"/v1/{path}?sort={field}")
        assert [each[field] for each in backwards] == times[::-1]
        assert len({json_of(each) for each in backwards}) == len(every_one)
        assert await ann.list_all(f"/v1/{path}?symbol=BTCUSDT&session_id={session}") == every_one
        assert await ann.list_all(f"/v1/{path}?symbol=ETHUSDT") == []


def json_of(item: Mapping[str, object]) -> str:
    return repr(sorted(item.items()))


async def test_a_stale_etag_cannot_overwrite_a_trade_note(api: Api) -> None:
    ann = await api.caller()
    await trade_bars(api, ann, 40)
    (trade, *_) = await ann.list_all("/v1/trades?status=CLOSED&sort=entry_time")
    path = f"/v1/trades/{trade['trade_id']}"
    tag = (await ann.call("GET", path)).headers["ETag"]
    assert (await ann.call("PATCH", path, {"notes": "well done"}, If_Match=tag)).body["notes"] == "well done"
    assert (await ann.call("PATCH", path, {"notes": "or not"}, If_Match=tag)).status == 412
    assert (await ann.must("GET", path))["notes"] == "well done"
