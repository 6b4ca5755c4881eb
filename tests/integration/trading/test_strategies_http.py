"""A strategy's lifecycle over HTTP: versions, deactivation, publishing, templates, statistics."""

import asyncio
from decimal import Decimal

from shared.testing.api_client import Answer, Json
from tests.integration.trading.callers import Api, reasons
from tests.unit.trading.scenes import CROSS, wavy_bars


def changed_cross() -> Json:
    risk = {"position_size": {"type": "percent_of_equity", "value": "25"}}
    return {**CROSS, "strategy_description": "smaller", "risk_management": risk}


async def test_two_versions_are_compared_by_path(api: Api) -> None:
    ann = await api.caller()
    path = f"/v1/strategies/{await ann.make_strategy()}"
    made = await ann.call("POST", path + "/versions", changed_cross())
    assert (made.status, made.headers["Location"]) == (201, path + "/versions/2")
    first = (await ann.call("GET", path + "/versions/1")).body
    second = (await ann.call("GET", made.headers["Location"])).body
    shown = (await ann.call("GET", path + "/comparison?from_version=1&to_version=2")).body
    assert (shown["from_hash"], shown["to_hash"]) == (first["content_hash"], second["content_hash"])
    assert shown["hash_differs"] is True
    found = {each["path"]: (each["change"], each["old"], each["new"]) for each in shown["differences"]}
    assert found["$.strategy_description"] == ("added", None, "smaller")
    assert found["$.risk_management.position_size.value"] == ("changed", "50", "25")
    assert found["$.risk_management.stop_loss"] == ("removed", {"type": "percent", "value": "2"}, None)


async def test_fields_that_are_not_executed_are_not_hashed(api: Api) -> None:
    ann = await api.caller()
    path = f"/v1/strategies/{await ann.make_strategy()}"
    await ann.call("PUT", path, {**CROSS, "strategy_name": "renamed"})
    shown = (await ann.call("GET", path + "/comparison")).body  # the newest against the one before
    assert shown["hash_differs"] is False
    assert shown["differences"] == [
        {"path": "$.strategy_name", "change": "changed", "old": "cross", "new": "renamed"}
    ]


async def test_missing_versions_are_not_found_and_not_compared(api: Api) -> None:
    ann, bob = await api.caller(1), await api.caller(2)
    path = f"/v1/strategies/{await ann.make_strategy()}"
    for part, status in [
        ("/versions/2", 404),
        ("/versions/0", 404),
        ("/versions/x", 404),
        ("/comparison?from_version=1&to_version=2", 422),
        ("/comparison", 200),
        ("/comparison?from_version=1&to_version=0", 422),
    ]:
        assert (part, (await ann.call("GET", path + part)).status) == (part, status)
    for part in ("/versions/1", "/comparison?from_version=1&to_version=1"):
        assert (part, (await bob.call("GET", path + part)).status) == (part, 404)


async def test_a_stale_etag_cannot_overwrite_a_newer_version(api: Api) -> None:
    ann = await api.caller()
    path = f"/v1/strategies/{await ann.make_strategy()}"
    tag = (await ann.call("GET", path)).headers["ETag"]
    assert (await ann.call("GET", path, If_None_Match=tag)).status == 304
    assert (await ann.call("PUT", path, changed_cross(), If_Match=tag)).status == 200
    assert (await ann.call("PUT", path, {**CROSS}, If_Match=tag)).status == 412
    assert (await ann.call("DELETE", path, If_Match=tag)).status == 412
    shown = await ann.call("GET", path, If_None_Match=tag)
    assert (shown.status, shown.body["version"]) == (200, 2)
    assert (await ann.call("DELETE", path, If_Match=shown.headers["ETag"])).status == 204


async def test_a_closed_trade_updates_statistics_without_blocking_edits(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    path = f"/v1/strategies/{strategy_id}"
    await ann.start(strategy_id)
    tag = (await ann.call("GET", path)).headers["ETag"]
    market = await api.trading.market(wavy_bars(60))
    await api.trading.until_stepped(await market.close_bars(60))
    shown = await ann.call("GET", path, If_None_Match=tag)
    assert shown.status == 200
    assert shown.body["total_trades"] != 0
    assert (await ann.call("PUT", path, changed_cross(), If_Match=tag)).status == 200


async def test_one_of_racing_changes_of_one_state_wins(api: Api) -> None:
    ann = await api.caller()
    path = f"/v1/strategies/{await ann.make_strategy()}"
    tag = (await ann.call("GET", path)).headers["ETag"]
    bodies = [{**CROSS, "strategy_description": f"number {number}"} for number in range(10)]
    done = await asyncio.gather(*(ann.call("PUT", path, body, If_Match=tag) for body in bodies))
    assert sorted(answer.status for answer in done) == [200] + [412] * 9
    assert len(await ann.list_all(path + "/versions")) == 2


async def test_a_deactivated_strategy_starts_no_session_and_running_ones_continue(api: Api) -> None:
    ann = await api.caller()
    strategy_id = await ann.make_strategy()
    path = f"/v1/strategies/{strategy_id}"
    session = (await ann.start(strategy_id)).text("session_id")
    for _ in range(2):
        answer = await ann.call("POST", path + "/deactivate")
        assert (answer.status, answer.body["is_active"]) == (200, False)
    refused = await ann.start(strategy_id)
    assert (refused.status, refused.body["type"]) == (409, "/problems/strategy-inactive")
    assert (await ann.call("GET", f"/v1/sessions/{session}")).body["status"] == "ACTIVE"
    assert [each["strategy_id"] for each in await ann.list_all("/v1/strategies?is_active=false")] == [strategy_id]
    assert await ann.list_all("/v1/strategies?is_active=true") == []
    assert (await ann.call("POST", path + "/reactivate")).body["is_active"] is True
    assert (await ann.start(strategy_id)).status == 201


async def test_a_published_strategy_is_shown_to_and_copied_by_others(api: Api) -> None:
    ann, bob = await api.caller(1), await api.caller(2)
    strategy_id = await ann.make_strategy()
    path = f"/v1/strategies/{strategy_id}"
    shown = (await ann.call("POST", path + "/publish", {"display_name": "Ann's cross"})).body
    assert (shown["is_public"], shown["published_version"]) == (True, 1)
    (seen,) = await bob.list_all("/v1/strategies/published")
    assert (seen["display_name"], seen["content_hash"]) == ("Ann's cross", shown["content_hash"])
    published = f"/v1/strategies/published/{seen['published_strategy_id']}"
    whole = (await bob.call("GET", published)).body
    assert "document" not in seen, "only its own address shows it"
    assert {name: value for name, value in whole.items() if name != "document"}.items() <= seen.items()
    taken = await bob.call("POST", published + "/copy", {"strategy_name": "mine now"})
    assert (taken.status, taken.body["strategy_name"]) == (201, "mine now")
    assert taken.body["content_hash"] == seen["content_hash"]
    assert (await bob.call("GET", taken.headers["Location"])).status == 200
    assert (await bob.call("POST", published + "/copy")).body["strategy_name"] == "cross"
    assert (await bob.call("POST", published + "/copy")).status == 409


async def test_a_published_version_does_not_change(api: Api) -> None:
    ann = await api.caller()
    path = f"/v1/strategies/{await ann.make_strategy()}"
    body: Json = {"display_name": "Ann"}
    first = (await ann.call("POST", path + "/publish", body)).body["published_strategy_id"]
    assert (await ann.call("POST", path + "/publish", body)).body["published_strategy_id"] == first
    await ann.call("PUT", path, changed_cross())
    seen = (await ann.call("GET", f"/v1/strategies/published/{first}")).body
    assert seen["document"]["risk_management"]["position_size"]["value"] == "50"
    second = (await ann.call("POST", path + "/publish", {**body, "version": 2})).body
    assert second["published_version"] == 2
    (seen,) = await ann.list_all("/v1/strategies/published")
    assert seen["published_strategy_id"] == second["published_strategy_id"] != first
    missing = await ann.call("POST", path + "/publish", {**body, "version": 3})
    assert list(reasons(missing)) == ["$.version"]


async def test_unpublishing_removes_it_for_all_and_keeps_the_copies(api: Api) -> None:
    ann, bob = await api.caller(1), await api.caller(2)
    path = f"/v1/strategies/{await ann.make_strategy()}"
    published = (await ann.call("POST", path + "/publish", {"display_name": "Ann"})).text("published_strategy_id")
    taken = await bob.call("POST", f"/v1/strategies/published/{published}/copy")
    for _ in range(2):
        answer = await ann.call("POST", path + "/unpublish")
        assert (answer.status, answer.body["is_public"]) == (200, False)
    assert (await bob.call("GET", f"/v1/strategies/published/{published}")).status == 404
    assert await bob.list_all("/v1/strategies/published") == []
    assert (await bob.call("GET", taken.headers["Location"])).status == 200


async def test_deleting_a_strategy_unpublishes_it(api: Api) -> None:
    ann = await api.caller()
    path = f"/v1/strategies/{await ann.make_strategy()}"
    await ann.call("POST", path + "/publish", {"display_name": "Ann"})
    assert (await ann.call("DELETE", path)).status == 204
    assert await ann.list_all("/v1/strategies/published") == []
    assert (await ann.call("GET", path)).status == 404


async def test_the_database_refuses_unpublishing_for_another_tenant(api: Api) -> None:
    ann = await api.caller(1)
    await api.caller(2)
    path = f"/v1/strategies/{await ann.make_strategy()}"
    published = (await ann.call("POST", path + "/publish", {"display_name": "Ann"})).text("published_strategy_id")
    async with api.trading.database.tenant(2) as connection:
        assert await connection.fetchval("SELECT withdraw_publication($1)", published) is False
    assert len(await ann.list_all("/v1/strategies/published")) == 1


async def test_a_template_is_copied_into_the_tenants_strategies(api: Api) -> None:
    ann = await api.caller()
    shown = await ann.list_all("/v1/strategies/templates")
    assert [each["strategy_name"] for each in shown] == ["channel-breakout", "ema-trend", "pullback"]
    for each in shown:
        path = f"/v1/strategies/templates/{each['template_id']}"
        assert (await ann.call("GET", path)).body == each
        made = await ann.call("POST", path + "/copy")
        assert (made.status, made.body["content_hash"]) == (201, each["content_hash"])
    assert len(await ann.list_all("/v1/strategies")) == 3


async def test_statistics_equal_the_trades_at_any_time(api: Api) -> None:
    """For two strategies with several sessions each, read while trades close."""
    ann = await api.caller()
    strategy_ids = [await ann.make_strategy(), await ann.make_strategy(strategy_name="another")]
    for strategy_id in (*strategy_ids, *strategy_ids):
        await ann.start(strategy_id)
    market = await api.trading.market(wavy_bars(120))
    for _ in range(6):
        await market.close_bars(20)
        for row in await api.trading.fetch(STATISTICS):
            assert (row["total_uses"], row["win_rate"], row["avg_pnl"]) == (row["uses"], row["rate"], row["mean"])
    await api.trading.until_stepped(wavy_bars(120)[-1].open_time_ms)
    for strategy_id in strategy_ids:
        shown = await ann.call("GET", f"/v1/strategies/{strategy_id}")
        trades = await ann.list_all(f"/v1/trades?status=CLOSED&strategy_id={strategy_id}&sort=entry_time")
        assert_equal_to(shown, [Decimal(trade["pnl"]) for trade in trades])


# One statement reads one snapshot, so that the rows of both tables match.
STATISTICS = """
    SELECT s.total_uses, s.win_rate, s.avg_pnl, count(t) AS uses,
           round(100.0 * count(t) FILTER (WHERE t.pnl > 0) / nullif(count(t), 0), 6) AS rate,
           round(avg(t.pnl), 8) AS mean
    FROM user_strategies s LEFT JOIN user_trades t
         ON t.user_id = s.user_id AND t.strategy_id = s.strategy_id AND t.status = 'CLOSED'
    GROUP BY s.user_id, s.strategy_id
"""


def assert_equal_to(shown: Answer, pnls: list[Decimal]) -> None:
    count = len(pnls)
    assert shown.body["total_trades"] == count > 10
    rate = Decimal(100 * sum(pnl > 0 for pnl in pnls)) / count
    assert abs(Decimal(str(shown.body["win_rate_percentage"])) - rate) < Decimal("0.000001")
    assert abs(Decimal(str(shown.body["expectancy"])) - sum(pnls, Decimal(0)) / count) < Decimal("0.00000001")


async def test_strategies_are_paged_in_either_order(api: Api) -> None:
    ann = await api.caller()
    made = [await ann.make_strategy(strategy_name=f"number {number}") for number in range(9)]
    assert [each["strategy_id"] for each in await ann.list_all("/v1/strategies")] == made[::-1]
    assert [each["strategy_id"] for each in await ann.list_all("/v1/strategies?sort=created_at")] == made
    first = (await ann.call("GET", "/v1/strategies?limit=2")).body["next_cursor"]
    assert (await ann.call("GET", f"/v1/strategies?sort=created_at&cursor={first}")).status == 422
