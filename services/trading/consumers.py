"""Event handlers: apply changes of plans."""

from collections.abc import Sequence

from services.trading.operations.hold_to_plan import hold_to_plan
from services.trading.queries.entitlements import upsert_entitlements
from shared.chassis.events.handlers import EventHandler
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged


async def on_subscription_changed(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Store the plans, apply their limits to running sessions, and claim the users' locator rows.

    The locator is claimed here, so that every located user has a plan.
    """
    for user_id in await upsert_entitlements(connection, events):
        await hold_to_plan(connection, user_id)
    await claim_users(connection, events)


PLAN = Versioned("subscription_version", "entitlements", "subscription_version")

EVENT_HANDLERS = (EventHandler(SubscriptionChanged, on_subscription_changed, PLAN),)
