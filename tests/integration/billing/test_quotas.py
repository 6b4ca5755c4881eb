"""Reports of requests are summed once each; the quota is published when it is exhausted or available again."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from services.billing.domain import ApiDay, Change
from services.billing.operations.subscriptions import change_plan, process_deadlines
from services.billing.queries.quotas import list_refusals
from services.billing.queries.requests import find_day
from shared.chassis.postgres import Database
from shared.contracts.billing import PlanName, QuotaChanged, RequestRefusal
from shared.contracts.types import new_id
from stack.migrate import DatabaseAccess
from tests.integration.billing.conftest import NOW, begin, set_daily_limit
from tests.integration.billing.usage_events import book, published_quotas, used_event

MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)
A_DAY = timedelta(days=1)


async def _day(database: Database, day: date | None = None) -> ApiDay:
    async with database.tenant(1) as connection:
        found = await find_day(connection, 1, day or NOW.date())
    assert found is not None
    return found


async def _change_plan(database: Database, plan: PlanName, now: datetime = NOW) -> None:
    async with database.tenant(1) as connection:
        assert await change_plan(connection, 1, Change(plan, "ACTIVE", "granted"), now)


def _shown(quotas: Sequence[QuotaChanged]) -> list[tuple[str, int | None, int]]:
    return [(each.state, each.limit, each.used) for each in quotas]


@pytest.fixture
async def limited(database: Database, database_access: DatabaseAccess) -> Database:
    """A tenant on trial with 100 requests a day."""
    await begin(database, 1)
    await set_daily_limit(database_access.owner_dsn, "PREMIUM", 100)
    return database


async def test_a_report_counts_once_however_often_it_is_delivered(limited: Database) -> None:
    instance = new_id()
    report = used_event(1, instance=instance, window=1, kind="trading")
    await asyncio.gather(*(book(limited, report, report) for _ in range(5)))
    await book(limited, used_event(1, instance=instance, window=2, kind="backtest"), report)
    day = await _day(limited)
    assert (day.total_requests, day.trading_requests, day.backtest_requests, day.analysis_requests) == (2, 1, 1, 0)
    assert (day.daily_limit, day.requests_remaining) == (100, 98)


async def test_the_quota_is_published_once_when_the_requests_run_out(limited: Database) -> None:
    for number in (99, 4, 10):
        await book(limited, used_event(number))
    (quota,) = await published_quotas(limited)
    assert (quota.state, quota.limit, quota.used, quota.until) == ("EXHAUSTED", 100, 103, MIDNIGHT)
    assert (quota.quota_version, quota.aggregate_seq, quota.meter) == (1, 1, "api_requests")


async def test_concurrent_reports_publish_it_once(limited: Database) -> None:
    await asyncio.gather(*(book(limited, used_event(20)) for _ in range(10)))
    assert (await _day(limited)).total_requests == 200
    assert [state for state, _, _ in _shown(await published_quotas(limited))] == ["EXHAUSTED"]


async def test_the_first_requests_of_a_new_day_make_it_available_again(limited: Database) -> None:
    await book(limited, used_event(100))
    await book(limited, used_event(1, at=NOW + A_DAY), now=NOW + A_DAY)
    await book(limited, used_event(100, at=NOW + A_DAY), now=NOW + A_DAY)
    quotas = await published_quotas(limited)
    assert _shown(quotas) == [("EXHAUSTED", 100, 100), ("OK", 100, 1), ("EXHAUSTED", 100, 101)]
    assert [each.quota_version for each in quotas] == [1, 2, 3]
    assert [each.until for each in quotas] == [MIDNIGHT, MIDNIGHT + A_DAY, MIDNIGHT + A_DAY]


async def test_late_reports_of_yesterday_exhaust_yesterday_only(limited: Database) -> None:
    await book(limited, used_event(200, at=NOW - A_DAY))
    assert (await _day(limited, (NOW - A_DAY).date())).total_requests == 200
    assert await published_quotas(limited) == []


async def test_a_larger_plan_makes_it_available_and_a_smaller_one_exhausts_it(limited: Database) -> None:
    await book(limited, used_event(1_500))
    await _change_plan(limited, "PRO")
    await _change_plan(limited, "FREE")
    await _change_plan(limited, "PREMIUM")
    assert _shown(await published_quotas(limited)) == [
        ("EXHAUSTED", 100, 1_500),
        ("OK", None, 1_500),
        ("EXHAUSTED", 1_000, 1_500),
        ("EXHAUSTED", 100, 1_500),
    ]


async def test_the_end_of_a_trial_applies_the_limit_of_free(limited: Database) -> None:
    later = NOW + timedelta(days=20)
    await book(limited, used_event(1_500, at=later), now=later)
    assert await process_deadlines(limited, later) == 1
    assert [limit for _, limit, _ in _shown(await published_quotas(limited))] == [100, 1_000]


async def test_a_plan_and_a_report_at_the_same_time_leave_the_state_of_both(limited: Database) -> None:
    await book(limited, used_event(90))
    await asyncio.gather(*(book(limited, used_event(5)) for _ in range(8)), _change_plan(limited, "PRO"))
    quotas = await published_quotas(limited)
    assert not quotas or quotas[-1].state == "OK"


async def test_a_user_whose_subscription_is_unknown_has_no_limit_yet(database: Database) -> None:
    await book(database, used_event(5_000))
    assert (await _day(database)).daily_limit is None
    assert await published_quotas(database) == []
    await begin(database, 1)
    assert (await _day(database)).daily_limit == 20_000
    assert await published_quotas(database) == []


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED"])
async def test_without_a_live_subscription_the_free_limit_applies(
    limited: Database, database_access: DatabaseAccess, status: str
) -> None:
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute("UPDATE billing.user_subscriptions SET status = $1, end_date = now()", status)
    await owner.close()
    await book(limited, used_event(100))
    assert (await _day(limited)).daily_limit == 1_000
    assert await published_quotas(limited) == []


async def test_users_of_one_batch_have_their_own_quotas(limited: Database) -> None:
    await begin(limited, 2)
    await book(limited, used_event(100), used_event(99, user_id=2), used_event(5, user_id=3))
    assert [each.user_id for each in await published_quotas(limited)] == [1]


async def test_the_last_refusal_of_each_operation_is_stored_with_its_reason(limited: Database) -> None:
    def refusal(operation: str, second: int) -> RequestRefusal:
        moment = NOW + timedelta(seconds=second)
        return RequestRefusal(operation=operation, count=2, login_id=None, refused_at=moment, used=103, limit=100)

    events = [used_event(2, refusals=[refusal("GET /v1/alerts", second)]) for second in (0, 2, 1)]
    await book(limited, *events, used_event(3, refusals=[refusal("POST /v1/alerts", 0)]))
    await book(limited, events[0])
    async with limited.tenant(1) as connection:
        refusals = await list_refusals(connection, 1, 10)
    assert [(each.operation, each.refused_at - NOW, each.used, each.limit) for each in refusals] == [
        ("GET /v1/alerts", timedelta(seconds=2), 103, 100),
        ("POST /v1/alerts", timedelta(0), 103, 100),
    ]
    assert (await _day(limited)).total_requests == 1


async def test_a_new_day_deletes_what_no_late_report_can_need(limited: Database) -> None:
    refusal = RequestRefusal(operation="x", count=1, login_id=None, refused_at=NOW, used=1, limit=1)
    await book(limited, used_event(2, refusals=[refusal]))
    later = NOW + timedelta(days=40)
    await book(limited, used_event(1, at=later), now=later)
    async with limited.tenant(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM api_usage_reports") == 1
        assert await connection.fetchval("SELECT count(*) FROM quota_refusals") == 0
        assert await connection.fetchval("SELECT count(*) FROM user_api_usage") == 2
