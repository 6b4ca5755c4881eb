"""States of quotas, as billing publishes them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.contracts.billing import QuotaChanged, QuotaState

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MIDNIGHT = NOON + timedelta(hours=12)


def quota_event(
    version: int,
    state: QuotaState = "EXHAUSTED",
    user_id: int = 1,
    until: datetime = MIDNIGHT,
    limit: int | None = 100,
) -> QuotaChanged:
    return QuotaChanged(
        user_id=user_id,
        public_id=UUID(int=user_id),
        aggregate="quota",
        aggregate_seq=version,
        quota_version=version,
        meter="api_requests",
        state=state,
        until=until,
        limit=limit,
        used=103,
    )
