"""Reports of requests, as services publish them, and the quotas that billing publishes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.billing.operations.requests import book_requests
from shared.chassis.postgres import Database
from shared.contracts.billing import QuotaChanged, RequestKind, RequestRefusal, UsageRecorded
from shared.contracts.types import new_id
from tests.integration.billing.conftest import NOW


def used_event(
    number: int,
    *,
    instance: UUID | None = None,
    window: int = 1,
    kind: RequestKind = "other",
    user_id: int = 1,
    at: datetime = NOW,
    refusals: Sequence[RequestRefusal] = (),
) -> UsageRecorded:
    """Return a report of `number` requests, of an instance of its own unless one is given."""
    return UsageRecorded(
        user_id=user_id,
        public_id=UUID(int=user_id),
        aggregate="usage",
        aggregate_seq=1,
        recorded_by="notifications",
        lease_id=instance or new_id(),
        kind=kind,
        count=number,
        window=window,
        window_start=at,
        window_end=at,
        refusals=tuple(refusals),
    )


async def book(database: Database, *events: UsageRecorded, now: datetime = NOW) -> None:
    async with database.tenants({event.user_id for event in events}) as connection:
        await book_requests(connection, events, now)


async def published_quotas(database: Database) -> list[QuotaChanged]:
    async with database.queue() as connection:
        rows = await connection.fetch("SELECT payload FROM outbox WHERE topic = 'quota.changed' ORDER BY id")
    return [QuotaChanged.model_validate_json(row["payload"]) for row in rows]
