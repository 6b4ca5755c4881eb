"""What auth hears."""

from collections.abc import Sequence

from services.auth.operations.entitlements import project_subscriptions
from shared.chassis.kafka import Subscription
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    await project_subscriptions(connection, events)


SUBSCRIPTIONS = (Subscription(SubscriptionChanged, on_subscription_changed),)
