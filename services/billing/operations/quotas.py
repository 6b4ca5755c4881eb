"""Publish `quota.changed` when a user's requests of the day run out, or are available again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from services.billing.domain import Quota, day_of, is_news, quota_of
from services.billing.queries import requests
from services.billing.queries.quotas import find_quotas, upsert_quotas
from services.billing.queries.requests import DayTotal
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.billing import QuotaChanged


async def refresh_quota(connection: Connection, user_id: int, public_id: UUID, now: datetime) -> None:
    """Publish the user's quota if a change of their plan has changed it."""
    days = [(user_id, day_of(now).start.date())]
    await requests.lock_days(connection, days)
    totals = await requests.update_days(connection, days, [])
    await publish_quotas(connection, totals, {user_id: public_id}, now)


async def publish_quotas(
    connection: Connection, totals: Sequence[DayTotal], public_ids: Mapping[int, UUID], now: datetime
) -> None:
    """Publish the quotas of today that differ from the last published ones.

    The caller holds the locks of the days and has read the limits under them: when a booking and a change of the
    plan run at the same time, the later one sees both.
    """
    today = day_of(now)
    current = [
        quota_of(total.user_id, total.used, total.limit, today)
        for total in totals
        if total.date == today.start.date()
    ]
    published = await find_quotas(connection, [quota.user_id for quota in current])
    news = [quota for quota in current if is_news(quota, published.get(quota.user_id))]
    if not news:
        return
    versions = await upsert_quotas(connection, news)
    await emit(connection, *(_event(quota, public_ids[quota.user_id], versions[quota.user_id]) for quota in news))


def _event(quota: Quota, public_id: UUID, version: int) -> QuotaChanged:
    return QuotaChanged(
        user_id=quota.user_id,
        public_id=public_id,
        aggregate=f"quota:{public_id}",
        aggregate_seq=version,
        quota_version=version,
        meter="api_requests",
        state=quota.state,
        until=quota.until,
        limit=quota.limit,
        used=quota.used,
    )
