"""The current entitlement of a user."""

from services.billing.domain import LIVE_STATUSES, Plan, Subscription
from services.billing.queries import plans, subscriptions
from shared.chassis.errors import AccountNotReady
from shared.chassis.postgres import Connection


async def get_entitlement(connection: Connection, user_id: int) -> tuple[Subscription, Plan]:
    """Return the user's last subscription and the plan whose limits apply: FREE if the subscription has ended.

    Raises AccountNotReady for a user whose `user.registered` billing has not handled yet.
    """
    last = await subscriptions.find_last_subscription(connection, user_id)
    if last is None:
        raise AccountNotReady
    if last.status in LIVE_STATUSES:
        return last, await plans.get_version(connection, last.plan_id)
    return last, await plans.get_plan(connection, "FREE")
