"""Project the subscriptions published by billing onto accounts."""

from collections.abc import Sequence

from services.auth.queries import accounts
from services.auth.queries.accounts import Entitlement
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged


async def project_subscriptions(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Store the newest version of each user's subscription."""
    newest: dict[int, SubscriptionChanged] = {}
    for event in sorted(events, key=lambda event: event.subscription_version):
        newest[event.user_id] = event
    await accounts.update_subscriptions(
        connection,
        [
            Entitlement(
                user_id=event.user_id,
                version=event.subscription_version,
                plan=event.plan,
                period_start=event.period_start,
                period_end=event.period_end,
                trial_end=event.period_end if event.status == "TRIAL" else None,
            )
            for event in newest.values()
        ],
    )
