"""Handlers of the events that notifications consumes, its own `alert.triggered` among them."""

from collections.abc import Sequence

from services.notifications.domain import notices
from services.notifications.operations.notify import notify_users
from services.notifications.queries.contacts import upsert_contacts
from services.notifications.queries.entitlements import upsert_entitlements
from shared.chassis.clock import utc_now
from shared.chassis.events.handlers import EventHandler
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered, UserUpdated
from shared.contracts.billing import SubscriptionChanged, UsageThreshold
from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import (
    ExchangeAccountAlarmed,
    SessionAlarmed,
    SessionStarted,
    SessionStopped,
    TradeClosed,
    TradeOpened,
)


async def on_user_registered(connection: Connection, events: Sequence[UserRegistered]) -> None:
    """Store the language and time zone that texts are written in."""
    await upsert_contacts(connection, events)


async def on_user_updated(connection: Connection, events: Sequence[UserUpdated]) -> None:
    await upsert_contacts(connection, events)


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Store the plan, claim the user's locator, and notify users whose plan changed."""
    await upsert_entitlements(connection, events)
    await claim_users(connection, events)
    now = utc_now()
    changes = [notices.from_subscription_changed(event, now) for event in events]
    await notify_users(connection, [notice for notice in changes if notice is not None])


async def on_alert_triggered(connection: Connection, events: Sequence[AlertTriggered]) -> None:
    """Notify the owners of alerts that ask for the dashboard."""
    now = utc_now()
    await notify_users(
        connection, [notices.from_alert_triggered(event, now) for event in events if "dashboard" in event.channels]
    )


async def on_session_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    now = utc_now()
    await notify_users(connection, [notices.from_session_started(event, now) for event in events])


async def on_session_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    now = utc_now()
    await notify_users(connection, [notices.from_session_stopped(event, now) for event in events])


async def on_session_alarmed(connection: Connection, events: Sequence[SessionAlarmed]) -> None:
    now = utc_now()
    await notify_users(connection, [notices.from_session_alarmed(event, now) for event in events])


async def on_exchange_account_alarmed(connection: Connection, events: Sequence[ExchangeAccountAlarmed]) -> None:
    now = utc_now()
    await notify_users(connection, [notices.from_exchange_account_alarmed(event, now) for event in events])


async def on_trade_opened(connection: Connection, events: Sequence[TradeOpened]) -> None:
    now = utc_now()
    await notify_users(connection, [notices.from_trade_opened(event, now) for event in events])


async def on_trade_closed(connection: Connection, events: Sequence[TradeClosed]) -> None:
    now = utc_now()
    await notify_users(connection, [notices.from_trade_closed(event, now) for event in events])


async def on_usage_threshold(connection: Connection, events: Sequence[UsageThreshold]) -> None:
    now = utc_now()
    await notify_users(connection, [notices.from_usage_threshold(event, now) for event in events])


CONTACT = Versioned("aggregate_seq", "contacts", "contact_version")
PLAN = Versioned("subscription_version", "entitlements", "subscription_version")

EVENT_HANDLERS = (
    EventHandler(UserRegistered, on_user_registered, CONTACT),
    EventHandler(UserUpdated, on_user_updated, CONTACT),
    EventHandler(SubscriptionChanged, on_subscription_changed, PLAN),
    EventHandler(SessionStarted, on_session_started),
    EventHandler(SessionStopped, on_session_stopped),
    EventHandler(SessionAlarmed, on_session_alarmed),
    EventHandler(ExchangeAccountAlarmed, on_exchange_account_alarmed),
    EventHandler(TradeOpened, on_trade_opened),
    EventHandler(TradeClosed, on_trade_closed),
    EventHandler(AlertTriggered, on_alert_triggered),
    EventHandler(UsageThreshold, on_usage_threshold),
)
