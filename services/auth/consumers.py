"""Event handlers of auth."""

from collections.abc import Sequence

from services.auth.operations.activity import log_activity
from services.auth.operations.entitlements import project_subscriptions
from shared.chassis.clock import utc_now
from shared.chassis.events.handlers import EventHandler
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.postgres import Connection
from shared.contracts.activity import ActivityRecorded
from shared.contracts.billing import SubscriptionChanged


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    await project_subscriptions(connection, events)


async def on_activity_recorded(connection: Connection, events: Sequence[ActivityRecorded]) -> None:
    await log_activity(connection, events, utc_now())


SUBSCRIPTION_VERSION = Versioned("subscription_version", "users", "subscription_version")

EVENT_HANDLERS = (
    EventHandler(SubscriptionChanged, on_subscription_changed, SUBSCRIPTION_VERSION),
    EventHandler(ActivityRecorded, on_activity_recorded),
)
