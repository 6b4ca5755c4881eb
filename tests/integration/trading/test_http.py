"""Trading's API as its clients use it."""

from uuid import UUID

from shared.chassis.http.paging import encode_cursor, encode_sorted
from shared.contracts.types import new_id
from shared.testing.api_client import Json
from tests.integration.accounts import eventually
from tests.integration.trading.callers import Api, Caller, reasons
from tests.unit.trading.scenes import CROSS, wavy_bars


async def test_a_strategy_is_stored_with_its_hash_and_changed_by_versions(api: Api) -> None:
    ann = await api.caller()
    made = await ann.call("POST", "/v1/strategies", {**CROSS})
    assert made.status == 201
    path = f"/v1/strategies/{made.text('strategy_id')}"
    assert made.headers["Location"] == path
    assert (await ann.call("PUT", path, {**CROSS})).body["version"] == 1
    changed = await ann.call("PUT", path, {**CROSS, "exit_conditions": None})
    assert changed.body["version"] == 2
    assert changed.body["content_hash"] != made.body["content_hash"]
    versions = (await ann.call("GET", path + "/versions")).body["items"]
    assert [each["content_hash"] for each in versions] == [changed.body["content_hash"], made.body["content_hash"]]


async def test_a_faulty_strategy_is_refused_with_the_paths_of_its_faults(api: Api) -> None:
    ann = await api.caller()
    entry = {"left": "nothing", "op": ">", "right": 1}
    answer = await ann.call("POST", "/v1/strategies", {**CROSS, "entry_conditions": {"long": entry}, "typo": 1})
    assert answer.status == 422
    assert {"$.entry_conditions.long.left", "$.typo"} <= set(reasons(answer))


async def test_two_strategies_may_not_share_a_name(api: Api) -> None:
    ann = await api.caller()
    await ann.make_strategy()
    assert (await ann.call("POST", "/v1/strategies", {**CROSS})).body["type"] == "/problems/name-taken"


async def test_only_a_strategy_without_running_sessions_is_deleted(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    session_id = (await ann.start(strategy_id)).text("session_id")
    path = f"/v1/strategies/{strategy_id}"
    assert (await ann.call("DELETE", path)).body["type"] == "/problems/strategy-in-use"
    await ann.call("POST", f"/v1/sessions/{session_id}/stop")
    assert (await ann.call("DELETE", path)).status == 204
    assert (await ann.call("GET", path)).status == 404
    await ann.make_strategy()  # the name is free again


async def test_at_most_one_configuration_is_the_default(api: Api) -> None:
    ann = await api.caller()
    for name in ("one", "two"):
        body: Json = {"config_name": name, "is_default": True, "max_position_size": "500"}
        assert (await ann.call("POST", "/v1/bot-configurations", body)).status == 201
    shown = (await ann.call("GET", "/v1/bot-configurations")).body["items"]
    assert [(each["config_name"], each["is_default"]) for each in shown] == [("two", True), ("one", False)]
    session = await ann.start(await ann.make_strategy())
    assert session.body["bot_configuration_id"] == shown[0]["bot_configuration_id"]


async def test_a_configuration_over_the_size_limit_is_refused(api: Api) -> None:
    ann = await api.caller()
    answer = await ann.call(
        "POST", "/v1/bot-configurations", {"config_name": "fat", "config_data": {"x": "y" * 20_001}}
    )
    assert list(reasons(answer)) == ["$.config_data"]


async def test_a_live_session_is_refused(api: Api) -> None:
    ann = await api.caller()
    answer = await ann.start(await ann.make_strategy(), mode="LIVE")
    assert (answer.status, answer.body["type"]) == (403, "/problems/live-trading-off")


async def test_a_symbol_the_exchange_does_not_list_is_refused(api: Api) -> None:
    ann = await api.caller()
    answer = await ann.start(await ann.make_strategy(), symbol="NOPEUSDT")
    assert (answer.status, list(reasons(answer))) == (422, ["$.symbol"])


async def test_an_invalid_amount_is_refused(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    for balance in ("0", "-1", "1e5", "NaN", 100, None, "1" * 21):
        answer = await ann.start(strategy_id, initial_balance=balance)
        assert (balance, answer.status, list(reasons(answer))) == (balance, 422, ["$.initial_balance"])


async def test_a_plan_limit_problem_shows_its_figures(api: Api) -> None:
    ann = await api.caller(strategies=1)
    await ann.start(await ann.make_strategy())
    answer = await ann.start(await ann.make_strategy(strategy_name="another"))
    assert (answer.status, answer.body["type"]) == (403, "/problems/plan-limit")
    assert (answer.body["limit_name"], answer.body["used"]) == ("max_active_strategies", 1)
    shown = (await ann.call("GET", "/v1/sessions/limits")).body
    assert (shown["max_active_strategies"], shown["active_strategies"], shown["active_symbols"]) == (1, 1, 1)


async def test_a_session_is_shown_with_its_fills_trades_and_decisions(api: Api) -> None:
    ann = await api.caller()
    started = await ann.start(await ann.make_strategy())
    path = f"/v1/sessions/{started.text('session_id')}"
    assert started.headers["Location"] == path
    market = await api.trading.market(wavy_bars(80))
    await api.trading.until_stepped(await market.close_bars(80))
    assert (await ann.call("POST", path + "/pause")).body["status"] == "PAUSED"
    assert (await ann.call("POST", path + "/resume")).body["status"] == "ACTIVE"
    running = (await ann.call("GET", path)).body
    stopped = (await ann.call("POST", path + "/stop", {"reason": "end_of_data"})).body
    assert stopped["status"] == "STOPPED"
    assert running["fingerprint"] != ""
    fills = await ann.list_all(path + "/fills?sort=fill_number")
    trades = await ann.list_all(f"/v1/trades?session_id={started.text('session_id')}&sort=entry_time")
    decisions = await ann.list_all(path + "/decisions?sort=bar_time")
    assert len(fills) == stopped["total_fills"]
    assert len(trades) == stopped["total_trades"]
    assert {fill["decision_id"] for fill in fills} <= {decision["decision_id"] for decision in decisions}
    one = (await ann.call("GET", f"/v1/decisions/{fills[0]['decision_id']}")).body
    assert isinstance(values := one["values"], dict)
    assert set(values) == {"close", "fast", "slow"}


async def test_statistics_of_a_strategy_follow_from_its_closed_trades(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    await ann.start(strategy_id)
    market = await api.trading.market(wavy_bars(80))
    await api.trading.until_stepped(await market.close_bars(80))
    trades = await ann.list_all("/v1/trades?status=CLOSED&sort=entry_time")
    shown = (await ann.call("GET", f"/v1/strategies/{strategy_id}")).body
    assert shown["total_trades"] == len(trades) > 0


async def test_another_tenant_finds_nothing(api: Api) -> None:
    ann, bob = await api.caller(1), await api.caller(2)
    strategy_id = await ann.make_strategy()
    session_id = (await ann.start(strategy_id)).text("session_id")
    configuration = await ann.call("POST", "/v1/bot-configurations", {"config_name": "mine"})
    configuration_id = configuration.text("bot_configuration_id")
    for method, path in [
        *((method, f"/v1/strategies/{strategy_id}") for method in ("GET", "DELETE")),
        ("GET", f"/v1/strategies/{strategy_id}/versions"),
        *((method, f"/v1/bot-configurations/{configuration_id}") for method in ("GET", "DELETE")),
        *(("GET", f"/v1/sessions/{session_id}{part}") for part in ("", "/fills", "/decisions")),
        *(("POST", f"/v1/sessions/{session_id}/{verb}") for verb in ("pause", "resume", "stop")),
    ]:
        assert (path, (await bob.call(method, path)).status) == (path, 404)
    assert (await bob.call("PUT", f"/v1/strategies/{strategy_id}", {**CROSS})).status == 404
    assert (await bob.start(strategy_id)).status == 422
    assert (await bob.start(await bob.make_strategy(), bot_configuration_id=configuration_id)).status == 422
    for path in ("/v1/sessions?symbol=ETHUSDT", "/v1/bot-configurations", "/v1/trades"):
        assert (await bob.call("GET", path)).body["items"] == []


async def test_without_a_token_nothing_is_shown(api: Api) -> None:
    assert (await api.client.call("GET", "/v1/sessions")).status == 401
    unknown = Caller(api.client.url, api.client.http, api.tokens.make_token(UUID(int=99)))
    assert (await unknown.call("GET", "/v1/sessions")).body["type"] == "/problems/account-not-ready"


async def test_hostile_cursors_and_ids_never_cause_server_errors(api: Api) -> None:
    ann = await api.caller()
    session_id = (await ann.start(await ann.make_strategy())).text("session_id")
    far = encode_cursor(2**63 - 1)
    for path, status in [
        (f"/v1/sessions/{session_id}/fills?cursor={encode_sorted('-fill_number', 2**63 - 1)}", 200),
        (f"/v1/sessions/{session_id}/fills?cursor={far}", 422),
        (f"/v1/trades?cursor={encode_cursor('-entry_time', 2**63 - 1, str(new_id()))}", 422),
        (f"/v1/candles?symbol=BTCUSDT&interval=15&cursor={far}", 422),
        (f"/v1/trades?cursor={far}", 422),
        ("/v1/sessions?cursor=x", 422),
        (f"/v1/sessions/{new_id()}", 404),
        ("/v1/sessions/1", 404),
        ("/v1/decisions/x", 404),
    ]:
        assert (path, (await ann.call("GET", path)).status) == (path, status)


async def test_market_demand_reaches_the_topic(api: Api) -> None:
    ann = await api.caller()
    await ann.start(await ann.make_strategy())
    unsent = "SELECT sent_at FROM outbox WHERE topic = 'market.interest'"
    await eventually(
        lambda: api.trading.fetch(unsent), lambda rows: len(rows) == 1 and rows[0]["sent_at"] is not None
    )
