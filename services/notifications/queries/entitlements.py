"""The features of a tenant's plan that alerts need, as billing last published them."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged


@dataclass(frozen=True)
class Entitlement:
    plan: str
    telegram_alerts: bool


async def upsert_entitlements(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Store entitlements; events older than the stored version are ignored."""
    latest = {event.user_id: event for event in sorted(events, key=lambda event: event.subscription_version)}
    await connection.execute(
        """
        INSERT INTO entitlements (user_id, subscription_version, plan, telegram_alerts)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::boolean[])
        ON CONFLICT (user_id) DO UPDATE SET subscription_version = excluded.subscription_version,
            plan = excluded.plan, telegram_alerts = excluded.telegram_alerts
        WHERE entitlements.subscription_version < excluded.subscription_version
        """,
        [event.user_id for event in latest.values()],
        [event.subscription_version for event in latest.values()],
        [event.plan for event in latest.values()],
        [event.features.telegram_alerts for event in latest.values()],
    )


async def find_entitlement(connection: Connection, user_id: int) -> Entitlement | None:
    row = await connection.fetchrow("SELECT plan, telegram_alerts FROM entitlements WHERE user_id = $1", user_id)
    return Entitlement(**row) if row else None
