"""Which events become messages for a user: in their language, once, and according to their preferences."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from services.notifications import consumers
from shared.chassis.postgres import Database
from shared.contracts.auth import UserRegistered
from shared.contracts.trading import SessionStarted, TradeClosed, TradeOpened
from shared.contracts.types import from_ms, new_id
from shared.testing.api_client import Json
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import session_started, trade_closed, user_registered
from tests.integration.notifications.conftest import Platform, subscription
from tests.integration.notifications.test_inbox import INBOX, session

PREFERENCES = INBOX + "/preferences"
MORNING = from_ms(1_769_850_000_000)  # 2026-01-31T09:00:00Z


def contact_event(user_id: int, language: str, timezone: str, number: int = 1) -> UserRegistered:
    event = user_registered(user_id, timezone)
    return event.model_copy(update={"language": language, "aggregate_seq": number})


def started_event(user_id: int, published_at: datetime = MORNING, event_id: UUID | None = None) -> SessionStarted:
    """Return a `session.started` event as consumed: with the id and the time of its message."""
    return session_started(user_id, "2026-01-31 09:30").received(published_at, event_id or new_id())


def opened_event(user_id: int) -> TradeOpened:
    end = trade_closed(user_id, "2026-01-31 09:30", "5")
    shared = {name: getattr(end, name) for name in TradeOpened.model_fields}
    return TradeOpened.model_validate(shared)


async def handle(database: Database, *events: SessionStarted) -> None:
    async with database.tenants([event.user_id for event in events]) as connection:
        await consumers.on_session_started(connection, events)


async def rows(database: Database, user_id: int) -> list[Json]:
    async with database.tenant(user_id) as connection:
        found = await connection.fetch("SELECT * FROM user_system_events ORDER BY position")
    return [dict(row) for row in found]


async def test_a_message_uses_the_language_and_time_zone_of_its_user(platform: Platform) -> None:
    token = await platform.user(1)
    await platform.publish(contact_event(1, "it", "Europe/Rome"))

    async def in_italian() -> list[Json]:
        await platform.publish(session(1)[1])
        return await platform.inbox(token, "event_type=SESSION_STOPPED")

    found = await eventually(in_italian, lambda items: any("fermata" in str(item["message"]) for item in items))
    message = "Sessione su BTCUSDT (simulata) fermata a mano: 0 operazioni, 0, 31 gen 2026, 11:30 CET"
    assert found[0]["message"] == message


async def test_the_latest_contact_data_of_a_user_counts(database: Database) -> None:
    for event in (
        contact_event(1, "it", "Europe/Rome", 3),
        contact_event(1, "en", "UTC", 2),
        contact_event(2, "en", "UTC"),
    ):
        async with database.tenants([1, 2]) as connection:
            await consumers.on_user_registered(connection, [event])
    async with database.tenant(1) as connection:
        contacts = await connection.fetch("SELECT language, timezone, email FROM contacts")
    assert [tuple(row) for row in contacts] == [("it", "Europe/Rome", "1@example.org")]


async def test_an_event_creates_one_message_even_without_its_inbox_row(database: Database) -> None:
    event, another = started_event(1), started_event(1)
    await handle(database, event)
    await handle(database, event, another)
    assert [row["session_id"] for row in await rows(database, 1)] == [event.session_id, another.session_id]
    async with database.tenant(1) as connection:
        ledger = await connection.fetch("SELECT event_id, channel, state, attempts, message_id FROM deliveries")
    assert {row["event_id"] for row in ledger} == {event.message_id, another.message_id}
    assert {tuple(row)[1:4] for row in ledger} == {("dashboard", "DELIVERED", 1)}
    assert {row["message_id"] for row in ledger} == {row["event_id"] for row in await rows(database, 1)}


async def test_the_changes_of_an_inbox_are_numbered_consecutively(database: Database) -> None:
    for minute in range(5):
        published_at = MORNING + timedelta(minutes=minute)
        await handle(database, *(started_event(user_id, published_at) for user_id in (1, 2, 1)))
    assert [row["position"] for row in await rows(database, 1)] == list(range(1, 11))
    assert [row["position"] for row in await rows(database, 2)] == list(range(1, 6))


async def test_trades_create_messages_for_users_who_enable_them(platform: Platform) -> None:
    token, other = await platform.user(1), await platform.user(2)
    preferences: Json = {"kinds": {"TRADE_OPENED": {}, "TRADE_CLOSED": {"severity_floor": "WARNING"}}}
    await eventually(
        lambda: platform.call("PUT", PREFERENCES, token, preferences), lambda answer: answer.status == 200
    )
    await eventually(lambda: platform.call("GET", PREFERENCES, other), lambda answer: answer.status == 200)
    end = trade_closed(1, "2026-01-31 09:30", "-5.25", reason="liquidation", paper=False)
    usual = trade_closed(1, "2026-01-31 09:30", "1")
    await platform.publish(opened_event(1), usual, end, opened_event(2), trade_closed(2, "2026-01-31 09:30", "1"))
    await platform.publish(session(2)[0])
    assert len(await eventually(lambda: platform.inbox(other), bool)) == 1
    found = await eventually(lambda: platform.inbox(token), lambda items: len(items) == 2)
    by_type = {item["event_type"]: item for item in found}
    closed = by_type["TRADE_CLOSED"]
    text = "cross closed long 1 BTCUSDT by liquidation at 2 (live): -5.25, 31 Jan 2026, 09:30 UTC"
    assert (closed["message"], closed["severity"]) == (text, "WARNING")
    assert (closed["trade_id"], closed["session_id"]) == (str(end.trade_id), str(end.session_id))
    assert by_type["TRADE_OPENED"]["message"] == "Opened long 1 BTCUSDT at 1 (on paper), 31 Jan 2026, 09:30 UTC"


async def test_a_disabled_kind_creates_no_message(platform: Platform) -> None:
    token = await platform.user(1)
    silence: Json = {"kinds": {"SESSION_STARTED": {"channels": []}}}
    assert (await platform.call("PUT", PREFERENCES, token, silence)).status == 200
    await platform.publish(*session(1))
    found = await eventually(lambda: platform.inbox(token), bool)
    assert [item["event_type"] for item in found] == ["SESSION_STOPPED"]


async def test_preferences_are_changed_only_with_a_current_etag(platform: Platform) -> None:
    token, other = await platform.user(1), await platform.user(2)
    usual = await platform.call("GET", PREFERENCES, token)
    assert usual.body["kinds"]["SESSION_STARTED"] == {"channels": ["dashboard"], "severity_floor": "INFO"}
    assert usual.body["kinds"]["TRADE_CLOSED"]["channels"] == []
    body: Json = {"kinds": {"TRADE_CLOSED": {"channels": ["dashboard", "dashboard"]}}}
    put = await platform.call("PUT", PREFERENCES, token, body, If_Match=usual.headers["ETag"])
    assert put.body["kinds"]["TRADE_CLOSED"]["channels"] == ["dashboard"]
    again = await platform.call("PUT", PREFERENCES, token, {"kinds": {}}, If_Match=usual.headers["ETag"])
    assert again.status == 412
    shown = await platform.call("GET", PREFERENCES, token)
    assert (shown.body, shown.headers["ETag"]) == (put.body, put.headers["ETag"])
    assert (await platform.call("GET", PREFERENCES, token, If_None_Match=put.headers["ETag"])).status == 304
    assert (await platform.call("GET", PREFERENCES, other)).body == usual.body
    assert (await platform.call("PUT", PREFERENCES, token, {"kinds": {}})).body == usual.body


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$.kinds"),
        ({"kinds": {"NEWS": {}}}, "$.kinds.NEWS.[key]"),
        ({"kinds": {"TRADE_CLOSED": {"channels": ["telegram"]}}}, "$.kinds.TRADE_CLOSED.channels[0]"),
        ({"kinds": {"TRADE_CLOSED": {"severity_floor": "LOUD"}}}, "$.kinds.TRADE_CLOSED.severity_floor"),
        ({"kinds": {"TRADE_CLOSED": None}}, "$.kinds.TRADE_CLOSED"),
    ],
)
async def test_invalid_preferences_are_named(platform: Platform, body: Json, path: str) -> None:
    token = await platform.user(1)
    answer = await platform.call("PUT", PREFERENCES, token, body)
    assert answer.status == 422
    assert [fault["path"] for fault in answer.body["errors"]] == [path]


async def test_a_plan_change_creates_a_message(database: Database) -> None:
    public_id = UUID(int=1)
    less = subscription(1, public_id, "FREE", 2).model_copy(update={"previous_plan": "PREMIUM"})
    same = subscription(1, public_id, "FREE", 3).model_copy(update={"previous_plan": "FREE"})
    async with database.tenants([1]) as connection:
        await consumers.on_subscription_changed(connection, [subscription(1, public_id, "PREMIUM"), less, same])
    (message,) = await rows(database, 1)
    assert (message["event_category"], message["severity"]) == ("BILLING", "WARNING")
    assert message["message"] == "Your plan is FREE now; it was PREMIUM"


async def test_the_columns_of_the_old_design_are_filled(database: Database) -> None:
    end: TradeClosed = trade_closed(1, "2026-01-31 09:30", "5", reason="kill_switch")
    async with database.tenant(1) as connection:
        await connection.execute(
            "INSERT INTO inbox_preferences (user_id, kinds) VALUES (1, '{\"TRADE_CLOSED\": {}}')"
        )
    async with database.tenants([1]) as connection:
        await consumers.on_trade_closed(connection, [end])
    (row,) = await rows(database, 1)
    old = "user_id timestamp event_type event_category message data severity is_read session_id trade_id created_at"
    assert [name for name in old.split() if row[name] is None] == []
