"""The day's quota of requests, leased in blocks; the sum over all instances is never above it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.billing.domain import (
    GIVING_BACK,
    LEASE,
    GivenBack,
    Lease,
    Period,
    QuotaRefusal,
    Refused,
    block_of,
    day_of,
    seconds_until,
)
from services.billing.queries import leases
from services.billing.queries.entitlement import get_entitlement
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id

LEASES_KEPT = timedelta(days=2)
REPORTS_KEPT = timedelta(days=31)  # longer than an event may come late: the inbox keeps 30


async def lease_block(
    database: Database, user_id: int, service: str, operation: str, login_id: UUID | None, now: datetime
) -> Lease | Refused:
    """A block of the day's requests; where none are left a refusal, which is noted. Raises AccountNotReady."""
    day = day_of(now)
    async with database.tenant(user_id) as connection:
        _, plan = await get_entitlement(connection, user_id)
        limit = plan.limits.daily_api_requests
        used, is_new = await leases.lock_day(connection, user_id, day.start.date(), limit)
        if is_new:
            await leases.delete_before(
                connection, user_id, (day.start - LEASES_KEPT).date(), (day.start - REPORTS_KEPT).date()
            )
        if limit is not None:
            used += await leases.count_held(connection, user_id, day.start.date(), now)
        granted = block_of(limit, used)
        if granted == 0:
            assert limit is not None, "what has no limit has always a block left"
            refusal = QuotaRefusal(service, operation, login_id, used, limit, now)
            await leases.upsert_refusal(connection, user_id, day.start.date(), refusal)
            return Refused(used, limit, seconds_until(day.end, now))
        return await _grant(connection, user_id, service, granted, day, now)


async def _grant(
    connection: Connection, user_id: int, service: str, granted: int, day: Period, now: datetime
) -> Lease:
    lease = Lease(
        user_id=user_id,
        lease_id=new_id(),
        date=day.start.date(),
        service=service,
        granted=granted,
        granted_at=now,
        expires_at=now + LEASE,
        usable=min(LEASE - GIVING_BACK, day.end - now),
    )
    await leases.insert_lease(connection, lease)
    return lease


async def take_back(database: Database, blocks: Sequence[GivenBack]) -> None:
    """The rest of them may be leased again at once."""
    async with database.tenants({block.user_id for block in blocks}) as connection:
        await leases.update_given_back(connection, blocks)
