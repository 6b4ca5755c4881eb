"""Handlers of the events that analytics consumes; each writes a whole batch."""

from collections.abc import Sequence

from services.analytics.operations import facts, rebuild, retention
from shared.chassis.clock import utc_now
from shared.chassis.events.handlers import EventHandler
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered, UserUpdated
from shared.contracts.billing import SubscriptionChanged
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed


async def on_user_registered(connection: Connection, events: Sequence[UserRegistered]) -> None:
    await facts.record_zones(connection, events)
    await rebuild.record_emails(connection, events)
    await claim_users(connection, events)


async def on_user_updated(connection: Connection, events: Sequence[UserUpdated]) -> None:
    await facts.record_zones(connection, events)


async def on_session_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    await facts.record_sessions_started(connection, events)


async def on_session_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    await facts.record_sessions_stopped(connection, events)


async def on_trade_closed(connection: Connection, events: Sequence[TradeClosed]) -> None:
    await facts.record_trades(connection, events)


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    await retention.record_plans(connection, events, utc_now())


ZONE = Versioned("aggregate_seq", "user_zones", "zone_version")
PLAN = Versioned("subscription_version", "entitlements", "subscription_version")

EVENT_HANDLERS = (
    EventHandler(UserRegistered, on_user_registered, ZONE),
    EventHandler(UserUpdated, on_user_updated, ZONE),
    EventHandler(SessionStarted, on_session_started),
    EventHandler(SessionStopped, on_session_stopped),
    EventHandler(TradeClosed, on_trade_closed),
    EventHandler(SubscriptionChanged, on_subscription_changed, PLAN),
)
