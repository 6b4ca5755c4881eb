"""Leases of a day's requests: exact across instances, returned, expired, reported once."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from services.billing.domain import ApiDay, Lease, LeaseRefusal, ReturnedLease
from services.billing.operations.leases import lease_block, return_leases
from services.billing.operations.requests import book_requests
from services.billing.queries.leases import HELD, list_refusals
from services.billing.queries.requests import find_day
from shared.chassis.errors import AccountNotReady
from shared.chassis.postgres import Database
from shared.contracts.billing import RequestKind, UsageRecorded
from shared.contracts.types import new_id
from stack.migrate import DatabaseAccess
from tests.integration.billing.conftest import NOW, begin, set_daily_limit

AFTER_IT_EXPIRED = NOW + timedelta(seconds=61)


async def _lease(
    database: Database, now: datetime = NOW, operation: str = "GET /v1/alerts"
) -> Lease | LeaseRefusal:
    return await lease_block(database, 1, "notifications", operation, None, now)


async def _granted(database: Database, now: datetime = NOW) -> Lease:
    lease = await _lease(database, now)
    assert isinstance(lease, Lease)
    return lease


def used_of(lease_id: UUID, count: int, window: int = 1, kind: RequestKind = "other") -> UsageRecorded:
    return UsageRecorded(
        user_id=1,
        public_id=UUID(int=1),
        aggregate=f"lease:{lease_id}",
        aggregate_seq=window,
        recorded_by="notifications",
        lease_id=lease_id,
        kind=kind,
        count=count,
        window=window,
        window_start=NOW,
        window_end=NOW,
    )


async def book(database: Database, *events: UsageRecorded) -> None:
    async with database.tenants([1]) as connection:
        await book_requests(connection, events, NOW)


async def _day(database: Database, now: datetime = NOW) -> ApiDay:
    async with database.tenant(1) as connection:
        day = await find_day(connection, 1, now.date())
    assert day is not None
    return day


@pytest.fixture
async def limited(database: Database, database_access: DatabaseAccess) -> Database:
    """A tenant on trial with 100 requests a day, so that leases are blocks of two."""
    await begin(database, 1)
    await set_daily_limit(database_access.owner_dsn, "PREMIUM", 100)
    return database


async def test_concurrent_leases_never_exceed_the_daily_limit(limited: Database) -> None:
    leases = await asyncio.gather(*(_lease(limited) for _ in range(60)))
    granted = [lease.granted for lease in leases if isinstance(lease, Lease)]
    assert (sum(granted), set(granted)) == (100, {2})
    refused = [lease for lease in leases if isinstance(lease, LeaseRefusal)]
    assert len(refused) == 10
    assert refused[0] == LeaseRefusal(used=100, limit=100, retry_after_s=(24 * 60 - 9 * 60 - 30) * 60)


@pytest.mark.parametrize(
    ("limit", "size"), [(1, 1), (49, 1), (100, 2), (1_000, 20), (2_500, 50), (20_000, 50), (None, 50)]
)
async def test_a_lease_is_two_percent_of_the_limit_and_at_most_fifty(
    limited: Database, database_access: DatabaseAccess, limit: int | None, size: int
) -> None:
    await set_daily_limit(database_access.owner_dsn, "PREMIUM", limit)
    assert (await _granted(limited)).granted == size


async def test_unused_requests_become_available_only_when_the_lease_expires(limited: Database) -> None:
    for _ in range(50):
        await _granted(limited)
    assert isinstance(await _lease(limited, NOW + timedelta(seconds=59)), LeaseRefusal)
    assert isinstance(await _lease(limited, AFTER_IT_EXPIRED), Lease)


async def test_returned_requests_are_available_at_once_and_used_ones_are_not(limited: Database) -> None:
    leases = [await _granted(limited) for _ in range(50)]
    back = [ReturnedLease(1, lease.lease_id, used) for lease, used in zip(leases[:3], (0, 1, 2), strict=True)]
    for _ in range(2):
        await return_leases(limited, back)
    again = [await _lease(limited) for _ in range(3)]
    assert [lease.granted if isinstance(lease, Lease) else 0 for lease in again] == [2, 1, 0]


async def test_used_requests_not_yet_reported_stay_used_after_the_lease_expired(limited: Database) -> None:
    leases = [await _granted(limited) for _ in range(50)]
    await return_leases(limited, [ReturnedLease(1, lease.lease_id, 2) for lease in leases])
    assert isinstance(await _lease(limited, AFTER_IT_EXPIRED), LeaseRefusal)


async def test_a_report_counts_once_however_often_it_is_delivered(limited: Database) -> None:
    lease = await _granted(limited)
    report = used_of(lease.lease_id, 1, kind="trading")
    await asyncio.gather(*(book(limited, report, report) for _ in range(5)))
    await book(limited, used_of(lease.lease_id, 1, window=2, kind="backtest"), report)
    day = await _day(limited)
    assert (day.total_requests, day.trading_requests, day.backtest_requests, day.analysis_requests) == (2, 1, 1, 0)
    assert (day.daily_limit, day.requests_remaining) == (100, 98)


async def test_reported_requests_move_from_the_lease_to_the_day(limited: Database) -> None:
    leases = [await _granted(limited) for _ in range(50)]
    await book(limited, *(used_of(lease.lease_id, 2) for lease in leases))
    assert (await _day(limited)).total_requests == 100
    assert isinstance(await _lease(limited, AFTER_IT_EXPIRED), LeaseRefusal)


async def test_requests_a_killed_service_never_reported_count_as_unused_after_expiry(limited: Database) -> None:
    lease = await _granted(limited)
    await book(limited, used_of(lease.lease_id, 1))
    left = [await _lease(limited, AFTER_IT_EXPIRED) for _ in range(51)]
    assert sum(each.granted for each in left if isinstance(each, Lease)) == 99


async def test_a_report_without_a_lease_is_booked_and_lowers_the_remainder(limited: Database) -> None:
    await book(limited, used_of(new_id(), 99))
    assert (await _granted(limited)).granted == 1
    assert isinstance(await _lease(limited), LeaseRefusal)


async def test_a_lease_ends_with_its_day_and_counts_in_that_day(limited: Database) -> None:
    evening = datetime(2026, 1, 31, 23, 59, 50, tzinfo=UTC)
    lease = await _granted(limited, evening)
    assert lease.usable == timedelta(seconds=10)
    late = used_of(lease.lease_id, 2).model_copy(update={"window_start": evening + timedelta(seconds=15)})
    await book(limited, late)
    assert (await _day(limited, evening)).total_requests == 2
    assert (await _granted(limited, evening + timedelta(seconds=11))).date == datetime(2026, 2, 1).date()  # noqa: DTZ001


async def test_a_later_lease_deletes_leases_that_no_late_report_can_need(limited: Database) -> None:
    lease = await _granted(limited)
    await book(limited, used_of(lease.lease_id, 1))
    await _granted(limited, NOW + timedelta(days=40))
    async with limited.tenant(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM quota_leases") == 1
        assert await connection.fetchval("SELECT count(*) FROM api_usage_reports") == 0
        assert await connection.fetchval("SELECT count(*) FROM user_api_usage") == 2


async def test_the_last_refusal_of_each_operation_is_stored_with_its_reason(
    limited: Database, database_access: DatabaseAccess
) -> None:
    await set_daily_limit(database_access.owner_dsn, "PREMIUM", 0)
    for second in range(3):
        await _lease(limited, NOW + timedelta(seconds=second))
    await _lease(limited, NOW, "POST /v1/alerts")
    async with limited.tenant(1) as connection:
        refusals = await list_refusals(connection, 1, 10)
    assert [(each.operation, each.refused_at - NOW, each.used, each.allowed) for each in refusals] == [
        ("GET /v1/alerts", timedelta(seconds=2), 0, 0),
        ("POST /v1/alerts", timedelta(0), 0, 0),
    ]


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED"])
async def test_without_a_live_subscription_the_free_limit_applies(
    limited: Database, database_access: DatabaseAccess, status: str
) -> None:
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute("UPDATE billing.user_subscriptions SET status = $1, end_date = now()", status)
    await owner.close()
    assert (await _granted(limited)).granted == 20
    assert (await _day(limited)).daily_limit == 1_000


async def test_a_user_unknown_to_billing_has_no_quota_yet(database: Database) -> None:
    with pytest.raises(AccountNotReady):
        await _lease(database)


async def test_the_sum_for_each_lease_uses_an_index(limited: Database) -> None:
    async with limited.tenant(1) as connection:
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        plan = await connection.fetch("EXPLAIN " + HELD, 1, NOW.date(), NOW)
    assert "quota_leases_by_day" in str(plan)
