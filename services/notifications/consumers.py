"""What notifications hears, its own alerts among it."""

from collections.abc import Sequence

from services.notifications import queries
from services.notifications.queries import Message
from shared.chassis.clock import utc_now
from shared.chassis.identity import claim_users
from shared.chassis.kafka import Subscription
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged
from shared.contracts.notifications import AlertTriggered
from shared.contracts.types import decimal_text, instant_text, new_id


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Whoever is located here has a plan: the locator is claimed with it."""
    await queries.upsert_entitlements(connection, events)
    await claim_users(connection, events)


async def on_alert_triggered(connection: Connection, events: Sequence[AlertTriggered]) -> None:
    """Into the inbox of those who asked for the dashboard."""
    shown = [event for event in events if "dashboard" in event.channels]
    if shown:
        await queries.insert_alert_messages(connection, [_message(event) for event in shown])


def _message(event: AlertTriggered) -> Message:
    text = f"{event.alert_name}: {event.symbol} at {decimal_text(event.price)}"
    data = {
        "alert_id": str(event.alert_id),
        "alert_type": event.alert_type,
        "symbol": event.symbol,
        "interval": event.interval,
        "open_time": instant_text(event.open_time),
        "price": decimal_text(event.price),
        "value_seen": event.value_seen,
    }
    return Message(event.user_id, new_id(), utc_now(), text, data)


SUBSCRIPTIONS = (
    Subscription(SubscriptionChanged, on_subscription_changed),
    Subscription(AlertTriggered, on_alert_triggered),
)
