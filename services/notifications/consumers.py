"""What notifications hears, its own alerts among it."""

from collections.abc import Sequence

from services.notifications.domain import notices
from services.notifications.operations.notify import tell
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
from shared.contracts.trading import SessionAlarmed, SessionStarted, SessionStopped, TradeClosed, TradeOpened


async def on_user_registered(connection: Connection, events: Sequence[UserRegistered]) -> None:
    """In whose language and zone we write."""
    await upsert_contacts(connection, events)


async def on_user_updated(connection: Connection, events: Sequence[UserUpdated]) -> None:
    await upsert_contacts(connection, events)


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Whoever is located here has a plan: the locator is claimed with it."""
    await upsert_entitlements(connection, events)
    await claim_users(connection, events)
    now = utc_now()
    told = [notices.of_subscription(event, now) for event in events]
    await tell(connection, [notice for notice in told if notice is not None])


async def on_alert_triggered(connection: Connection, events: Sequence[AlertTriggered]) -> None:
    """Into the inbox of those who asked for the dashboard."""
    now = utc_now()
    await tell(connection, [notices.of_alert(event, now) for event in events if "dashboard" in event.channels])


async def on_session_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    now = utc_now()
    await tell(connection, [notices.of_session_start(event, now) for event in events])


async def on_session_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    now = utc_now()
    await tell(connection, [notices.of_session_stop(event, now) for event in events])


async def on_session_alarmed(connection: Connection, events: Sequence[SessionAlarmed]) -> None:
    now = utc_now()
    await tell(connection, [notices.of_session_alarm(event, now) for event in events])


async def on_trade_opened(connection: Connection, events: Sequence[TradeOpened]) -> None:
    now = utc_now()
    await tell(connection, [notices.of_trade_opened(event, now) for event in events])


async def on_trade_closed(connection: Connection, events: Sequence[TradeClosed]) -> None:
    now = utc_now()
    await tell(connection, [notices.of_trade_closed(event, now) for event in events])


async def on_usage_threshold(connection: Connection, events: Sequence[UsageThreshold]) -> None:
    now = utc_now()
    await tell(connection, [notices.of_threshold(event, now) for event in events])


CONTACT = Versioned("aggregate_seq", "contacts", "contact_version")
PLAN = Versioned("subscription_version", "entitlements", "subscription_version")

EVENT_HANDLERS = (
    EventHandler(UserRegistered, on_user_registered, CONTACT),
    EventHandler(UserUpdated, on_user_updated, CONTACT),
    EventHandler(SubscriptionChanged, on_subscription_changed, PLAN),
    EventHandler(SessionStarted, on_session_started),
    EventHandler(SessionStopped, on_session_stopped),
    EventHandler(SessionAlarmed, on_session_alarmed),
    EventHandler(TradeOpened, on_trade_opened),
    EventHandler(TradeClosed, on_trade_closed),
    EventHandler(AlertTriggered, on_alert_triggered),
    EventHandler(UsageThreshold, on_usage_threshold),
)
