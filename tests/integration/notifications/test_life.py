"""The life cycle of an alert: conditional edits, pause and resume, `ONCE` and `ALWAYS`, and its firings."""

from services.notifications.alert_evaluator import Evaluator
from services.notifications.operations.alerts import change_alert
from shared.chassis.postgres import Database
from shared.testing.api_client import Json
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import candles
from tests.integration.notifications.conftest import ABOVE_TEN, Platform, bars_at, list_fired_bars, make_alert
from tests.integration.notifications.test_firing import ALTERNATING, list_triggered, reload, times

ALERTS = "/v1/alerts"


async def test_an_outdated_etag_does_not_change_an_alert(platform: Platform) -> None:
    token = await platform.user(1)
    created = await platform.call("POST", ALERTS, token, ABOVE_TEN)
    path = f"{ALERTS}/{created.body['alert_id']}"
    seen = (await platform.call("GET", path, token)).headers["ETag"]
    changed = await platform.call("PATCH", path, token, {"cooldown_seconds": 60}, If_Match=seen)
    assert (changed.status, changed.body["cooldown_seconds"]) == (200, 60)
    assert changed.headers["ETag"] != seen
    attempts: tuple[tuple[str, Json | None], ...] = (("PATCH", {"cooldown_seconds": 5}), ("DELETE", None))
    for method, body in attempts:
        refused = await platform.call(method, path, token, body, If_Match=seen)
        assert (refused.status, refused.body["type"]) == (412, "/problems/precondition-failed")
    not_modified = await platform.call("GET", path, token, If_None_Match=changed.headers["ETag"])
    assert not_modified.status == 304
    assert (await platform.call("GET", path, token)).body == changed.body
    removed = await platform.call("DELETE", path, token, If_Match=changed.headers["ETag"])
    assert removed.status == 204


async def test_pausing_and_resuming_an_alert_is_idempotent(platform: Platform) -> None:
    token, other = await platform.user(1), await platform.user(2)
    created = await platform.call("POST", ALERTS, token, ABOVE_TEN)
    path = f"{ALERTS}/{created.body['alert_id']}"
    for action, active in (("pause", False), ("pause", False), ("resume", True), ("resume", True)):
        answer = await platform.call("POST", f"{path}/{action}", token)
        assert (answer.status, answer.body["is_active"]) == (200, active)
        assert (await platform.call("POST", f"{path}/{action}", other)).status == 404


async def test_a_once_alert_fires_once_until_it_is_reactivated(database: Database, evaluator: Evaluator) -> None:
    once = await make_alert(database, 1, alert_name="once", repeat="ONCE")
    always = await make_alert(database, 1, alert_name="always")
    published = candles(ALTERNATING)
    await evaluator.on_candle_closed(published[:6])
    assert await list_fired_bars(database, once) == times(ALTERNATING, [1])
    assert await list_fired_bars(database, always) == times(ALTERNATING, [1, 3, 5])
    assert not (await reload(database, once)).is_active
    async with database.queue() as connection:
        interests = await connection.fetch("SELECT object_id FROM market_interests")
    assert [row["object_id"] for row in interests] == [always.alert_id]
    await as_tenant(database, change_alert, 1, once.alert_id, {"is_active": True})
    await evaluator.on_candle_closed(published[6:])
    assert await list_fired_bars(database, once) == times(ALTERNATING, [1, 7])
    assert (await reload(database, once)).triggered_count == 2
    assert len(await list_triggered(database)) == 2 + 5


async def test_a_once_alert_fires_once_within_a_batch(database: Database, evaluator: Evaluator) -> None:
    once = await make_alert(database, 1, repeat="ONCE")
    await evaluator.on_candle_closed(candles(ALTERNATING))
    assert await list_fired_bars(database, once) == times(ALTERNATING, [1])
    assert ((await reload(database, once)).triggered_count, len(await list_triggered(database))) == (1, 1)


async def test_alerts_are_filtered_and_sorted(platform: Platform) -> None:
    token = await platform.user(1)
    volume: Json = {"alert_type": "VOLUME", "condition_data": {"above": "5"}}
    for name, more in (("b", {}), ("c", volume), ("a", {"symbol": "ETHUSDT"}), ("d", {"is_active": False})):
        assert (await platform.call("POST", ALERTS, token, {**ABOVE_TEN, "alert_name": name, **more})).status == 201

    async def names(query: str) -> str:
        found = await platform.list_all(f"{ALERTS}?{query}", token, limit=2)
        return "".join(str(alert["alert_name"]) for alert in found)

    assert await names("") == await names("sort=-created_at") == "dacb"
    assert await names("sort=created_at") == "bcad"
    assert (await names("sort=alert_name"), await names("sort=-alert_name")) == ("abcd", "dcba")
    assert (await names("symbol=ETHUSDT"), await names("alert_type=VOLUME")) == ("a", "c")
    assert (await names("is_active=false"), await names("is_active=true&sort=alert_name")) == ("d", "abc")
    page = await platform.call("GET", f"{ALERTS}?limit=1", token)
    for query in (
        "sort=symbol",
        "alert_type=RSI",
        "is_active=yes",
        f"sort=alert_name&cursor={page.body['next_cursor']}",
    ):
        assert (await platform.call("GET", f"{ALERTS}?{query}", token)).status == 422, query


async def test_firings_are_stored_and_listed(platform: Platform) -> None:
    token, other = await platform.user(1), await platform.user(2)
    created = await platform.call("POST", ALERTS, token, ABOVE_TEN)
    path = f"{ALERTS}/{created.body['alert_id']}/firings"
    assert await platform.list_all(path, token) == []
    await platform.publish_bars(bars_at("9", "11.50", "9", "13", "9", "12"))
    found = await eventually(lambda: platform.list_all(path, token, limit=2), lambda rows: len(rows) == 3)
    assert [firing["price"] for firing in found] == ["12", "13", "11.5"]
    assert found[-1] == {
        "open_time": "1970-01-01T00:15:00.000Z",
        "close_time": "1970-01-01T00:30:00.000Z",
        "price": "11.5",
        "value_seen": "11.5",
        "created_at": found[-1]["created_at"],
    }
    assert await platform.list_all(path + "?sort=open_time", token, limit=1) == found[::-1]
    assert (await platform.call("GET", path, other)).status == 404
    for cursor in ("x", "WyItb3Blbl90aW1lIiwgOTIyMzM3MjAzNjg1NDc3NTgwN10"):
        assert (await platform.call("GET", f"{path}?cursor={cursor}", token)).status == 422
