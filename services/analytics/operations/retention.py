"""Deletes analyses older than the retention of the user's plan, in steps of bounded size."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.analytics.domain.retention import RETENTION
from services.analytics.queries import retention
from shared.chassis.postgres import Connection, Database
from shared.contracts.billing import SubscriptionChanged

EVERY = timedelta(days=1)
USERS_AT_ONCE = 200
ROWS_AT_ONCE = 5_000


async def record_plans(connection: Connection, events: Sequence[SubscriptionChanged], now: datetime) -> None:
    """Store plans. Users whose new plan has a shorter retention are due now, others at their regular time."""
    before = await retention.upsert_entitlements(connection, events)
    plans = {event.user_id: event.plan for event in events if event.user_id in before}
    shortened = [
        user_id for user_id, was in before.items() if was is not None and RETENTION[plans[user_id]] < RETENTION[was]
    ]
    await retention.insert_rounds(connection, before)
    await retention.upsert_rounds(connection, shortened, now)


async def drop_expired(database: Database, now: datetime, at_once: int = ROWS_AT_ONCE) -> int | None:
    """Delete up to `at_once` rows per plan for the users due longest. Returns the count, or None if none is due."""
    async with database.queue() as connection:
        users = await retention.list_due(connection, now, USERS_AT_ONCE)
    if not users:
        return None
    async with database.tenants(users) as connection:
        plans = await retention.list_plans(connection, users)
        dropped, done = 0, set(users)
        for plan, period in RETENTION.items():
            on_plan = [user_id for user_id in users if plans.get(user_id) == plan]
            if not on_plan:
                continue
            deleted = await retention.delete_analyses(connection, on_plan, now - period, at_once)
            dropped += deleted
            if deleted == at_once:  # there may be more: these users stay due
                done -= set(on_plan)
        await retention.upsert_rounds(connection, done, now + EVERY)
    return dropped
