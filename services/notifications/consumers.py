"""What notifications hears, its own alerts among it."""

from collections.abc import Mapping, Sequence

from services.notifications.queries.entitlements import upsert_entitlements
from services.notifications.queries.inbox import Category, Message, insert_messages
from shared.chassis.clock import utc_now
from shared.chassis.identity import claim_users
from shared.chassis.kafka import Subscription
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged, UsageThreshold
from shared.contracts.envelope import Event
from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import SessionAlarmed, SessionStarted, SessionStopped
from shared.contracts.types import decimal_text, instant_text, new_id


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Whoever is located here has a plan: the locator is claimed with it."""
    await upsert_entitlements(connection, events)
    await claim_users(connection, events)


async def on_alert_triggered(connection: Connection, events: Sequence[AlertTriggered]) -> None:
    """Into the inbox of those who asked for the dashboard."""
    await insert_messages(connection, [_of_alert(event) for event in events if "dashboard" in event.channels])


async def on_usage_threshold(connection: Connection, events: Sequence[UsageThreshold]) -> None:
    await insert_messages(connection, [_of_threshold(event) for event in events])


async def on_session_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    await insert_messages(connection, [_of_start(event) for event in events])


async def on_session_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    await insert_messages(connection, [_of_stop(event) for event in events])


async def on_session_alarmed(connection: Connection, events: Sequence[SessionAlarmed]) -> None:
    await insert_messages(connection, [_of_alarm(event) for event in events])


def _of_alert(event: AlertTriggered) -> Message:
    data = {
        "alert_id": str(event.alert_id),
        "alert_name": event.alert_name,
        "alert_type": event.alert_type,
        "symbol": event.symbol,
        "interval": event.interval,
        "open_time": instant_text(event.open_time),
        "price": decimal_text(event.price),
        "value_seen": event.value_seen,
    }
    return _message(event, "ALERT", f"{event.alert_name}: {event.symbol} at {decimal_text(event.price)}", data)


def _of_start(event: SessionStarted) -> Message:
    data = {
        "session_id": str(event.session_id),
        "symbol": event.symbol,
        "interval": event.interval,
        "mode": event.mode,
        "strategy_name": event.strategy_name,
        "initial_balance": decimal_text(event.initial_balance),
        "started_at": instant_text(event.started_at),
    }
    return _message(event, "TRADING", f"{event.strategy_name} started on {event.symbol} ({event.mode})", data)


def _of_stop(event: SessionStopped) -> Message:
    pnl = decimal_text(event.total_pnl)
    data = {
        "session_id": str(event.session_id),
        "symbol": event.symbol,
        "mode": event.mode,
        "reason": event.reason,
        "total_trades": event.total_trades,
        "total_pnl": pnl,
        "final_balance": decimal_text(event.final_balance),
        "stopped_at": instant_text(event.stopped_at),
    }
    text = f"Session on {event.symbol} stopped ({event.reason}): {event.total_trades} trades, {pnl}"
    return _message(event, "TRADING", text, data)


def _of_alarm(event: SessionAlarmed) -> Message:
    texts = {
        "feed_silent": f"No candles of {event.symbol} come: your session enters nothing until they do",
        "session_failed": f"Your session on {event.symbol} cannot go on, by a fault of ours: we are looking at it",
    }
    data = {
        "session_id": str(event.session_id),
        "symbol": event.symbol,
        "reason": event.reason,
        "since": instant_text(event.since),
    }
    text = texts.get(event.reason, f"Your session on {event.symbol} needs attention: {event.reason}")
    return _message(event, "TRADING", text, data)


def _of_threshold(event: UsageThreshold) -> Message:
    data = {
        "meter": event.meter,
        "used": event.used,
        "limit": event.limit,
        "percent": event.percent,
        "period_start": instant_text(event.period_start),
        "period_end": instant_text(event.period_end),
    }
    what = "trades of this period" if event.meter == "trades" else "requests of this day"
    return _message(event, "BILLING", f"{event.used} of {event.limit} {what} are used ({event.percent} %)", data)


def _message(event: Event, category: Category, text: str, data: Mapping[str, object]) -> Message:
    """One for the event, at the time it was said."""
    session_id = event.session_id if isinstance(event, SessionStarted | SessionStopped | SessionAlarmed) else None
    return Message(
        user_id=event.user_id,
        event_id=new_id(),
        timestamp=event.said_at or utc_now(),
        event_type=event.topic.replace(".", "_").upper(),
        event_category=category,
        message=text,
        data=data,
        session_id=session_id,
    )


SUBSCRIPTIONS = (
    Subscription(SubscriptionChanged, on_subscription_changed),
    Subscription(SessionStarted, on_session_started),
    Subscription(SessionStopped, on_session_stopped),
    Subscription(SessionAlarmed, on_session_alarmed),
    Subscription(AlertTriggered, on_alert_triggered),
    Subscription(UsageThreshold, on_usage_threshold),
)
