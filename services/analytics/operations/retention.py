"""Analyses older than a user's plan keeps them are dropped, in steps of a bounded size."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.analytics.domain.retention import KEPT
from services.analytics.queries import retention
from shared.chassis.postgres import Connection, Database
from shared.contracts.billing import SubscriptionChanged

EVERY = timedelta(days=1)
USERS_AT_ONCE = 200
ROWS_AT_ONCE = 5_000


async def note_plans(connection: Connection, events: Sequence[SubscriptionChanged], now: datetime) -> None:
    """Whose plan keeps less now is looked through next, the others when it is their turn."""
    before = await retention.upsert_entitlements(connection, events)
    plans = {event.user_id: event.plan for event in events if event.user_id in before}
    less = [user_id for user_id, was in before.items() if was is not None and KEPT[plans[user_id]] < KEPT[was]]
    await retention.begin_rounds(connection, before)
    await retention.upsert_rounds(connection, less, now)


async def drop_some(database: Database, now: datetime, at_once: int = ROWS_AT_ONCE) -> int | None:
    """One step for those who wait longest: how many rows went. None where nobody waits."""
    async with database.queue() as connection:
        users = await retention.list_due(connection, now, USERS_AT_ONCE)
    if not users:
        return None
    async with database.tenants(users) as connection:
        plans = await retention.list_plans(connection, users)
        dropped, done = 0, set(users)
        for plan, kept in KEPT.items():
            on_plan = [user_id for user_id in users if plans.get(user_id) == plan]
            if not on_plan:
                continue
            gone = await retention.delete_analyses(connection, on_plan, now - kept, at_once)
            dropped += gone
            if gone == at_once:  # there may be more
                done -= set(on_plan)
        await retention.upsert_rounds(connection, done, now + EVERY)
    return dropped
