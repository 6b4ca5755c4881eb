"""A tenant's notifications: list, filters, marking as read."""

from datetime import UTC, datetime

from services.notifications.consumers import on_session_started
from shared.chassis.postgres import Database
from shared.contracts.trading import SessionAlarmed, SessionStarted, SessionStopped
from shared.contracts.types import new_id
from shared.testing.api_client import Json
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import session_started, session_stopped
from tests.integration.notifications.conftest import ABOVE_TEN, Platform, bars_at

INBOX = "/v1/inbox"


def session(user_id: int) -> tuple[SessionStarted, SessionStopped]:
    session_id = new_id()
    begin = session_started(user_id, "2026-01-31 09:30", session_id=session_id)
    return begin, session_stopped(user_id, "2026-01-31 10:30", "10000", session_id)


async def wait_for_messages(platform: Platform, token: str, count: int, query: str = "") -> list[Json]:
    return await eventually(lambda: platform.inbox(token, query), lambda found: len(found) >= count)


async def test_messages_are_marked_as_read(platform: Platform) -> None:
    token = await platform.user(1)
    await platform.call("POST", "/v1/alerts", token, ABOVE_TEN)
    await platform.publish_bars(bars_at("9", "11", "9", "11", "9", "11"))
    messages = await wait_for_messages(platform, token, 3)
    path = f"{INBOX}/{messages[0]['event_id']}/read"
    for _ in range(2):
        assert (await platform.call("POST", path, token)).body == {**messages[0], "is_read": True}
    unread = await platform.inbox(token, "is_read=false")
    assert [item["event_id"] for item in unread] == [item["event_id"] for item in messages[1:]]
    assert (await platform.call("POST", INBOX + "/read", token)).body == {"marked_read": 2}
    assert (await platform.call("POST", INBOX + "/read", token)).body == {"marked_read": 0}
    assert [item["is_read"] for item in await platform.inbox(token)] == [True] * 3
    assert await platform.inbox(token, "is_read=false") == []
    assert len(await platform.inbox(token, "is_read=true")) == 3


async def test_messages_before_a_time_are_marked_as_read(platform: Platform) -> None:
    token = await platform.user(1)
    for number, event in enumerate(session(1), start=1):
        await platform.publish(event)
        newest, *earlier = await wait_for_messages(platform, token, number)
    marked = await platform.call("POST", INBOX + "/read", token, {"to": newest["created_at"]})
    assert (marked.body, len(earlier)) == ({"marked_read": 1}, 1)
    assert await platform.inbox(token, "is_read=false") == [newest]


async def test_messages_of_another_tenant_are_not_visible(platform: Platform) -> None:
    token, other = await platform.user(1), await platform.user(2)
    await platform.publish(*session(1))
    messages = await wait_for_messages(platform, token, 2)
    assert await platform.inbox(other) == []
    path = f"{INBOX}/{messages[0]['event_id']}/read"
    assert (await platform.call("POST", path, other)).status == 404
    assert (await platform.call("POST", INBOX + "/read", other)).body == {"marked_read": 0}
    assert [item["is_read"] for item in await platform.inbox(token)] == [False, False]


async def test_session_start_and_stop_create_messages(platform: Platform) -> None:
    token = await platform.user(1)
    begin, end = session(1)
    await platform.publish(begin, end)
    messages = {
        str(item["event_type"]): item
        for item in await wait_for_messages(platform, token, 2, "event_category=TRADING")
    }
    assert messages["SESSION_STARTED"]["message"] == "cross started on BTCUSDT (on paper), 31 Jan 2026, 09:30 UTC"
    ended = "Session on BTCUSDT (on paper) stopped by hand: 0 trades, 0, 31 Jan 2026, 10:30 UTC"
    assert messages["SESSION_STOPPED"]["message"] == ended
    assert {item["session_id"] for item in messages.values()} == {str(begin.session_id)}
    assert {"start_time"} <= set(messages["SESSION_STARTED"]["data"])
    assert {"end_time", "pnl", "mode"} <= set(messages["SESSION_STOPPED"]["data"])
    assert await platform.inbox(token, "event_category=ALERT") == []


async def test_messages_are_listed_in_pages_newest_first(platform: Platform) -> None:
    token = await platform.user(1)
    await platform.call("POST", "/v1/alerts", token, ABOVE_TEN)
    await platform.publish_bars(bars_at(*["9", "11"] * 5))
    whole = await wait_for_messages(platform, token, 5)
    assert {str(item["message"]).partition(",")[0] for item in whole} == {"ten: BTCUSDT at 11"}
    ids = [str(item["event_id"]) for item in whole]
    assert ids == sorted(ids, reverse=True)
    assert await platform.list_all(INBOX, token, limit=2) == whole
    for query in ("event_category=NEWS", "is_read=perhaps", "limit=201", "cursor=WyJ4Il0", "from=1"):
        assert (await platform.call("GET", f"{INBOX}?{query}", token)).status == 422, query


async def test_an_alert_without_the_dashboard_creates_no_message(platform: Platform) -> None:
    token = await platform.user(1)
    silent: Json = {**ABOVE_TEN, "alert_name": "silent", "notify_dashboard": False}
    created = await platform.call("POST", "/v1/alerts", token, silent)
    assert created.body["channels"] == []
    await platform.call("POST", "/v1/alerts", token, ABOVE_TEN)
    await platform.publish_bars(bars_at("9", "11"))
    messages = await wait_for_messages(platform, token, 1)
    shown = await platform.call("GET", f"/v1/alerts/{created.body['alert_id']}", token)
    assert (len(messages), shown.body["triggered_count"]) == (1, 1)


async def test_a_month_gets_its_partition_with_its_first_message(database: Database) -> None:
    started, _ = session(1)
    for month in (datetime(2027, 12, 31, 23, 59, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)):
        begin = started.received(month)
        async with database.tenants([1]) as connection:
            await on_session_started(connection, [begin, begin])
    async with database.tenant(1) as connection:
        rows = await connection.fetch(
            "SELECT tableoid::regclass::text, count(*) FROM user_system_events GROUP BY 1 ORDER BY 1"
        )
        reachable = await connection.fetchval(
            """
            SELECT bool_or(has_table_privilege(r.oid, i.inhrelid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
            FROM pg_inherits i, pg_roles r
            WHERE i.inhparent = 'user_system_events'::regclass AND r.rolname LIKE 'notifications\\_%'
            """
        )
    assert [tuple(row) for row in rows] == [("user_system_events_2027_12", 2), ("user_system_events_2028_01", 2)]
    assert reachable is False


async def test_session_alarms_create_messages(platform: Platform) -> None:
    token = await platform.user(1)
    begin, _ = session(1)
    for number, reason in enumerate(("feed_silent", "session_failed", "of_tomorrow"), 2):
        named = {
            name: getattr(begin, name) for name in ("user_id", "public_id", "aggregate", "session_id", "symbol")
        }
        alarm = {**named, "aggregate_seq": number, "reason": reason, "since": datetime(2026, 1, 31, 9, tzinfo=UTC)}
        await platform.publish(SessionAlarmed.model_validate(alarm))
    messages = await wait_for_messages(platform, token, 3, "event_category=TRADING")
    assert {str(item["event_type"]) for item in messages} == {"SESSION_ALARMED"}
    assert {str(item["session_id"]) for item in messages} == {str(begin.session_id)}
    texts = " ".join(str(item["message"]) for item in messages)
    assert "no candles are arriving" in texts
    assert "cannot continue" in texts
    assert "of_tomorrow" in texts
