"""Limits of the plan and of the platform per tenant: of concurrent requests for one free place, one wins."""

import asyncio
from datetime import timedelta

from services.trading.domain import MAX_CONFIGURATIONS, MAX_PUBLISHED, MAX_VERSIONS, STORED_BEFORE_PLAN
from shared.contracts.billing import PlanName
from shared.testing.api_client import Answer, Json
from tests.integration.trading.callers import Api, Caller
from tests.integration.trading.conftest import Trading, consume, plan_changed
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS

RACING = 50


async def subscribe(trading: Trading, user_id: int, version: int, plan: PlanName = "FREE", **limits: int) -> None:
    """Consume a subscription event with limits that older events do not have."""
    event = plan_changed(user_id, version, plan, None)
    await consume(trading.database, event.model_copy(update={"limits": event.limits.model_copy(update=limits)}))


async def test_racing_starts_for_one_free_place_have_one_winner(api: Api) -> None:
    ann = await api.caller(1)
    strategy_id = await ann.make_strategy()
    await subscribe(api.trading, 1, 2, max_running_sessions=3)
    for _ in range(2):
        assert (await ann.start(strategy_id)).status == 201
    done = await asyncio.gather(*(ann.start(strategy_id) for _ in range(RACING)))
    assert sorted(answer.status for answer in done) == [201] + [403] * (RACING - 1)
    refused = next(answer for answer in done if answer.status == 403)
    assert _limit_of(refused) == ("/problems/plan-limit", "max_running_sessions", 3, 3, "FREE")
    shown = (await ann.call("GET", "/v1/sessions/limits")).body
    assert (shown["max_running_sessions"], shown["running_sessions"]) == (3, 3)
    stopped = next(answer for answer in done if answer.status == 201)
    await ann.call("POST", f"/v1/sessions/{stopped.text('session_id')}/stop")
    assert (await ann.start(strategy_id)).status == 201


async def test_racing_strategies_for_one_free_place_have_one_winner(api: Api) -> None:
    ann = await api.caller(1)
    await ann.make_strategy()
    await subscribe(api.trading, 1, 2, max_stored_strategies=2)
    done = await asyncio.gather(*(_strategy(ann, f"s{number}") for number in range(RACING)))
    assert sorted(answer.status for answer in done) == [201] + [403] * (RACING - 1)
    refused = next(answer for answer in done if answer.status == 403)
    assert _limit_of(refused) == ("/problems/plan-limit", "max_stored_strategies", 2, 2, "FREE")
    template = (await ann.list_all("/v1/strategies/templates"))[0]["template_id"]
    assert (await ann.call("POST", f"/v1/strategies/templates/{template}/copy")).status == 403
    made = next(answer for answer in done if answer.status == 201).text("strategy_id")
    assert (await ann.call("DELETE", f"/v1/strategies/{made}")).status == 204
    assert (await ann.call("POST", f"/v1/strategies/templates/{template}/copy")).status == 201


async def test_a_new_account_stores_a_few_before_its_plan_is_known(api: Api) -> None:
    principal = await api.trading.subscribe(1)
    await api.trading.fetch("DELETE FROM entitlements RETURNING 1")
    ann = Caller(api.client.url, api.client.http, api.tokens.make_token(principal.public_id))
    done = await asyncio.gather(*(_strategy(ann, f"s{number}") for number in range(STORED_BEFORE_PLAN + 5)))
    assert sorted(answer.status for answer in done) == [201] * STORED_BEFORE_PLAN + [403] * 5


async def test_versions_of_a_strategy_are_bounded(api: Api) -> None:
    ann = await api.caller(1)
    path = f"/v1/strategies/{await ann.make_strategy()}"
    await api.trading.fetch(f"UPDATE user_strategies SET version = {MAX_VERSIONS - 1} RETURNING 1")
    assert (await ann.call("PUT", path, _sized(25))).status == 200
    full = await ann.call("PUT", path, _sized(26))
    assert (full.status, full.body["type"], full.body["limit"]) == (409, "/problems/versions-full", MAX_VERSIONS)
    assert (await ann.call("POST", path + "/versions", _sized(27))).status == 409
    assert (await ann.call("PUT", path, _sized(25))).status == 200, "an identical document makes no new version"


async def test_configurations_are_bounded(api: Api) -> None:
    ann = await api.caller(1)
    await api.trading.fetch(
        """
        INSERT INTO user_bot_configurations (user_id, bot_configuration_id, config_name, config_data)
        SELECT 1, gen_random_uuid(), 'old ' || number, '{}' FROM generate_series(1, $1 - 1) AS number RETURNING 1
        """,
        MAX_CONFIGURATIONS,
    )
    bodies = [{"config_name": f"c{number}"} for number in range(RACING)]
    done = await asyncio.gather(*(ann.call("POST", "/v1/bot-configurations", {**body}) for body in bodies))
    assert sorted(answer.status for answer in done) == [201] + [409] * (RACING - 1)
    assert {answer.body.get("type") for answer in done} == {None, "/problems/configurations-full"}


async def test_published_strategies_are_bounded(api: Api) -> None:
    ann = await api.caller(1)
    made = [(await _strategy(ann, f"s{number}")).text("strategy_id") for number in range(MAX_PUBLISHED + 5)]
    body = {"display_name": "Ann"}
    paths = [f"/v1/strategies/{strategy_id}" for strategy_id in made]
    done = await asyncio.gather(*(ann.call("POST", path + "/publish", {**body}) for path in paths))
    assert sorted(answer.status for answer in done) == [200] * MAX_PUBLISHED + [409] * 5
    shown = [path for path, answer in zip(paths, done, strict=True) if answer.status == 200]
    left_out = next(path for path, answer in zip(paths, done, strict=True) if answer.status == 409)
    assert (await ann.call("POST", shown[0] + "/publish", {"display_name": "Ada"})).status == 200
    assert (await ann.call("POST", shown[0] + "/unpublish")).status == 200
    assert (await ann.call("POST", left_out + "/publish", {**body})).status == 200


async def test_a_plan_that_shrinks_lets_the_sessions_started_first_enter(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    strategy_id = await trading.strategy(1)
    sessions = [
        await trading.start(ann, strategy_id, venue_now=BEFORE + timedelta(seconds=number)) for number in range(3)
    ]
    await subscribe(trading, 1, 2, max_running_sessions=1)
    rows = await trading.fetch("SELECT session_id, entries FROM session_leases")
    entries = {row["session_id"]: row["entries"] for row in rows}
    assert [entries[each.session_id] for each in sessions] == ["ALLOWED", "PLAN_LIMIT", "PLAN_LIMIT"]


async def test_an_event_without_these_limits_gets_those_of_its_plan(trading: Trading) -> None:
    """The event has neither limit, and leaves no tenant unlimited, even if it arrives late, after an upgrade."""
    await trading.subscribe(1)
    await trading.subscribe(2, "FREE")
    rows = await trading.fetch(
        "SELECT max_running_sessions, max_stored_strategies FROM entitlements ORDER BY user_id"
    )
    assert [tuple(row) for row in rows] == [(1_000, 1_000), (3, 10)]


async def test_no_list_response_exceeds_a_megabyte_plus_one_item(api: Api) -> None:
    ann = await api.caller(1)
    strategy_id = await ann.make_strategy()
    await api.trading.fetch(
        """
        INSERT INTO strategy_versions (user_id, strategy_id, version, content_hash, document)
        SELECT 1, $1::text::uuid, number, content_hash, document || jsonb_build_object('pad', repeat('x', 30000))
        FROM strategy_versions, generate_series(2, 120) AS number RETURNING 1
        """,
        strategy_id,
    )
    path = f"/v1/strategies/{strategy_id}/versions"
    first = await ann.call("GET", path + "?limit=200")
    assert int(first.headers["Content-Length"]) < 1_050_000
    versions = [each["version"] for each in await ann.list_all(path, limit=200)]
    assert versions == list(range(120, 0, -1))


def _limit_of(answer: Answer) -> tuple[object, ...]:
    return tuple(answer.body[name] for name in ("type", "limit_name", "allowed", "used", "plan"))


async def _strategy(caller: Caller, name: str) -> Answer:
    return await caller.call("POST", "/v1/strategies", {**CROSS, "strategy_name": name})


def _sized(percent: int) -> Json:
    size = {"type": "percent_of_equity", "value": str(percent)}
    return {**CROSS, "risk_management": {"position_size": size}}
