"""Lease the day's request quota in blocks; the sum over all instances never exceeds it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.billing.domain import (
    LEASE_DURATION,
    RETURN_MARGIN,
    Lease,
    LeaseRefusal,
    Period,
    QuotaRefusal,
    ReturnedLease,
    block_size,
    day_of,
    seconds_until,
)
from services.billing.queries import leases
from services.billing.queries.entitlement import get_entitlement
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id

LEASE_RETENTION = timedelta(days=2)
REPORT_RETENTION = timedelta(days=31)  # longer than an event may be delayed: the inbox keeps 30 days


async def lease_block(
    database: Database, user_id: int, service: str, operation: str, login_id: UUID | None, now: datetime
) -> Lease | LeaseRefusal:
    """Lease a block of the day's requests. If none are left, store and return a refusal. Raises AccountNotReady."""
    day = day_of(now)
    async with database.tenant(user_id) as connection:
        _, plan = await get_entitlement(connection, user_id)
        limit = plan.limits.daily_api_requests
        used, is_new = await leases.lock_day(connection, user_id, day.start.date(), limit)
        if is_new:
            await leases.delete_before(
                connection, user_id, (day.start - LEASE_RETENTION).date(), (day.start - REPORT_RETENTION).date()
            )
        if limit is not None:
            used += await leases.count_held(connection, user_id, day.start.date(), now)
        granted = block_size(limit, used)
        if granted == 0:
            assert limit is not None, "without a limit there is always a block"
            refusal = QuotaRefusal(service, operation, login_id, used, limit, now)
            await leases.upsert_refusal(connection, user_id, day.start.date(), refusal)
            return LeaseRefusal(used, limit, seconds_until(day.end, now))
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
        expires_at=now + LEASE_DURATION,
        usable=min(LEASE_DURATION - RETURN_MARGIN, day.end - now),
    )
    await leases.insert_lease(connection, lease)
    return lease


async def return_leases(database: Database, blocks: Sequence[ReturnedLease]) -> None:
    """Release the unused rest of the blocks, which may be leased again at once."""
    async with database.tenants({block.user_id for block in blocks}) as connection:
        await leases.update_returned(connection, blocks)
