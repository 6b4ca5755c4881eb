"""Alerts over the API, from the request to the notification."""

import pytest

from services.notifications.operations.alerts import MAX_ALERTS, change_alert
from shared.chassis.errors import PlanLimitReached
from shared.testing.api_client import Json
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.notifications.conftest import ABOVE_TEN, NOT_YET, Platform, bars_at, make_alert, subscription

ALERTS = "/v1/alerts"


async def interests(platform: Platform) -> list[tuple[str, bool]]:
    async with platform.database.queue() as connection:
        rows = await connection.fetch("SELECT symbol, wanted FROM published_interests ORDER BY symbol")
    return [tuple(row) for row in rows]


async def test_an_alert_fires_at_its_bars_and_creates_notifications(platform: Platform) -> None:
    token = await platform.user(1)
    created = await platform.call("POST", ALERTS, token, ABOVE_TEN)
    assert created.status == 201
    assert created.headers["Location"] == f"{ALERTS}/{created.body['alert_id']}"
    assert (created.body["channels"], created.body["condition_data"]) == (
        ["dashboard"],
        ABOVE_TEN["condition_data"],
    )
    bars = bars_at("9", "11", "12", "9", "13")
    await platform.publish_bars(bars)
    await platform.publish_bars(bars)
    messages = await eventually(lambda: platform.inbox(token), lambda found: len(found) >= 2)
    assert [message["message"] for message in messages] == [
        "ten: BTCUSDT at 13, 1 Jan 1970, 01:15 UTC",
        "ten: BTCUSDT at 11, 1 Jan 1970, 00:30 UTC",
    ]
    data = messages[0]["data"]
    assert isinstance(data, dict)
    assert (data["open_time"], data["price"], data["value_seen"]) == ("1970-01-01T01:00:00.000Z", "13", "13")
    shown = await platform.call("GET", f"{ALERTS}/{created.body['alert_id']}", token)
    assert (shown.body["triggered_count"], shown.body["last_triggered_at"]) == (2, "1970-01-01T01:15:00.000Z")


async def test_a_tenant_sees_only_their_own_alerts(platform: Platform) -> None:
    token, other = await platform.user(1), await platform.user(2)
    created = await platform.call("POST", ALERTS, token, ABOVE_TEN)
    assert (await platform.call("POST", ALERTS, other, ABOVE_TEN)).status == 201
    listed = await platform.list_all(ALERTS, other)
    assert [item["alert_id"] == created.body["alert_id"] for item in listed] == [False]
    path = f"{ALERTS}/{created.body['alert_id']}"
    for method in ("GET", "DELETE", "PATCH"):
        answer = await platform.call(method, path, other, {"is_active": False} if method == "PATCH" else None)
        assert (answer.status, answer.body["type"]) == (404, "/problems/not-found")
    assert (await platform.call("GET", path, token)).body["is_active"] is True
    assert (await platform.call("GET", ALERTS, "")).status == 401


async def test_alerts_are_listed_in_pages_and_by_symbol(platform: Platform) -> None:
    token = await platform.user(1)
    for number in range(5):
        symbol = "ETHUSDT" if number == 2 else "BTCUSDT"
        await platform.call("POST", ALERTS, token, {**ABOVE_TEN, "alert_name": f"a{number}", "symbol": symbol})
    listed = await platform.list_all(ALERTS, token, limit=2)
    assert [item["alert_name"] for item in listed] == ["a4", "a3", "a2", "a1", "a0"]
    listed = await platform.list_all(f"{ALERTS}?symbol=ETHUSDT", token)
    assert [item["alert_name"] for item in listed] == ["a2"]
    assert (await platform.call("GET", f"{ALERTS}?cursor=WzFd", token)).status == 422


@pytest.mark.parametrize("field", NOT_YET)
async def test_an_unavailable_channel_is_refused_by_field(platform: Platform, field: str) -> None:
    token = await platform.user(1, "PRO")
    created = await platform.call("POST", ALERTS, token, {**ABOVE_TEN, field: False})
    assert (created.status, created.body["channels"]) == (201, ["dashboard"])
    path = f"{ALERTS}/{created.body['alert_id']}"
    more: Json = {**ABOVE_TEN, "alert_name": "more", field: True}
    change: Json = {field: True}
    for method, where, body in (("POST", ALERTS, more), ("PATCH", path, change)):
        refused = await platform.call(method, where, token, body)
        assert (refused.status, refused.body["type"]) == (422, "/problems/invalid-input")
        faults = refused.body["errors"]
        assert [fault["path"] for fault in faults] == [f"$.{field}"]
    assert len(await platform.list_all(ALERTS, token)) == 1


@pytest.mark.parametrize("sort", ["alert_name", "-alert_name", "created_at", "-created_at"])
async def test_alerts_with_the_longest_names_are_all_listed(platform: Platform, sort: str) -> None:
    token = await platform.user(1)
    names = [letter * 99 + digit for letter in "Ж🚀漢a" for digit in "12"]
    for name in names:
        assert (await platform.call("POST", ALERTS, token, {**ABOVE_TEN, "alert_name": name})).status == 201
    listed = [item["alert_name"] for item in await platform.list_all(f"{ALERTS}?sort={sort}", token, limit=1)]
    assert sorted(map(str, listed)) == sorted(names)
    if sort.endswith("alert_name"):
        assert listed == sorted(names, reverse=sort.startswith("-"))


async def test_a_plan_without_telegram_is_refused_with_the_reason(platform: Platform) -> None:
    alert = await make_alert(platform.database, 1)
    await platform.publish(subscription(1, alert.public_id, "FREE", 2))

    async def refusal() -> PlanLimitReached | None:
        try:
            await as_tenant(platform.database, change_alert, 1, alert.alert_id, {"notify_telegram": True})
        except PlanLimitReached as refused:
            return refused
        return None

    refused = await eventually(refusal, bool)
    assert refused is not None
    assert (refused.extra["feature"], refused.extra["plan"]) == ("telegram_alerts", "FREE")


async def test_an_alert_beyond_the_plan_can_still_be_switched_off(platform: Platform) -> None:
    alert = await make_alert(platform.database, 1, notify_telegram=True)
    token = platform.issuer.make_token(alert.public_id)
    await platform.publish(subscription(1, alert.public_id, "FREE", 3))
    await platform.publish(subscription(1, alert.public_id, "PREMIUM", 2))

    async def refused() -> bool:
        try:
            await as_tenant(platform.database, change_alert, 1, alert.alert_id, {"notify_telegram": True})
        except PlanLimitReached:
            return True
        return False

    await eventually(refused, bool)
    changed = await platform.call("PATCH", f"{ALERTS}/{alert.alert_id}", token, {"is_active": False})
    assert (changed.status, changed.body["is_active"], changed.body["notify_telegram"]) == (200, False, True)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"interval": "7"}, "$.interval"),
        ({"symbol": "btc"}, "$.symbol"),
        ({"alert_name": " "}, "$.alert_name"),
        ({"alert_type": "RSI"}, "$.alert_type"),
        ({"cooldown_seconds": -1}, "$.cooldown_seconds"),
        ({"condition_data": {"op": "above", "value": "x"}}, "$.condition_data.value"),
        ({"condition_data": {"op": "above", "value": True}}, "$.condition_data.value"),
        ({"condition_data": {"op": "above", "value": "1000000000001"}}, "$.condition_data.value"),
        ({"condition_data": {"op": "above", "value": "9" * 20 + "." + "9" * 18}}, "$.condition_data.value"),
        ({"condition_data": {"note": "x" * 40_000}}, "$.condition_data"),
        ({"alert_name": "a\u200bb"}, "$.alert_name"),
        ({"alert_name": "a\u202eb"}, "$.alert_name"),
        ({"alert_name": "up\n\x1b[31mred"}, "$.alert_name"),
        ({"alert_name": "x" * 101}, "$.alert_name"),
        ({"condition_data": []}, "$.condition_data"),
        ({"alert_type": "CUSTOM", "condition_data": {"condition": {"any": []}}}, "$.condition_data.condition.any"),
        ({"expires_at": "2026-01-01T00:00:00"}, "$.expires_at"),
        ({"expires_at": "9999-12-31T23:59:59.999999Z"}, "$.expires_at"),
        ({"expires_at": "2200-01-01T00:00:00Z"}, "$.expires_at"),
        ({"expires_at": "0001-01-01T00:00:00Z"}, "$.expires_at"),
        ({"more": 1}, "$.more"),
    ],
)
async def test_an_invalid_field_is_named(platform: Platform, change: Json, path: str) -> None:
    token = await platform.user(1)
    answer = await platform.call("POST", ALERTS, token, {**ABOVE_TEN, **change})
    assert (answer.status, answer.body["type"]) == (422, "/problems/invalid-input")
    faults = answer.body["errors"]
    assert [fault["path"] for fault in faults] == [path]


async def test_an_alert_is_changed_paused_and_removed(platform: Platform) -> None:
    token = await platform.user(1)
    created = await platform.call("POST", ALERTS, token, ABOVE_TEN)
    path = f"{ALERTS}/{created.body['alert_id']}"
    assert (await platform.call("POST", ALERTS, token, ABOVE_TEN)).body["type"] == "/problems/name-taken"
    await eventually(lambda: interests(platform), lambda found: found == [("BTCUSDT", True)])
    until = "2027-01-01T00:00:00.000Z"
    changed = await platform.call("PATCH", path, token, {"condition_data": {"op": "below", "value": 5}})
    assert changed.body["condition_data"] == {"op": "below", "value": "5"}
    assert (await platform.call("PATCH", path, token, {"expires_at": until})).body["expires_at"] == until
    changed = await platform.call("PATCH", path, token, {"is_active": False, "cooldown_seconds": 60})
    assert (changed.body["is_active"], changed.body["cooldown_seconds"]) == (False, 60)
    assert changed.body["expires_at"] == until
    assert (await platform.call("PATCH", path, token, {"expires_at": None})).body["expires_at"] is None
    await eventually(lambda: interests(platform), lambda found: found == [("BTCUSDT", False)])
    assert (await platform.call("PATCH", path, token, {"condition_data": {}})).status == 422
    assert (await platform.call("PATCH", path, token, {"expires_at": "9999-12-31T23:59:59.999999Z"})).status == 422
    assert (await platform.call("PATCH", path, token, {"symbol": "ETHUSDT"})).status == 422
    assert (await platform.call("DELETE", path, token)).status == 204
    assert (await platform.call("GET", path, token)).status == 404


async def test_the_number_of_alerts_is_limited(platform: Platform) -> None:
    for number in range(MAX_ALERTS):
        alert = await make_alert(platform.database, 1, alert_name=f"a{number}")
    token = platform.issuer.make_token(alert.public_id)
    answer = await platform.call("POST", ALERTS, token, ABOVE_TEN)
    assert (answer.status, answer.body["type"], answer.body["limit"]) == (409, "/problems/alerts-full", MAX_ALERTS)
