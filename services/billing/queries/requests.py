"""Requests per UTC day, booked from the reports of services, and published thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import asyncpg

from services.billing.domain import ApiDay
from shared.chassis.postgres import Connection
from shared.contracts.billing import RequestKind

UserDay = tuple[int, date]


@dataclass(frozen=True)
class RequestReport:
    """A number of requests of one kind from one lease in one window."""

    user_id: int
    lease_id: UUID
    kind: RequestKind
    window: int
    date: date
    requests: int


async def find_lease_days(
    connection: Connection, user_ids: Sequence[int], lease_ids: Sequence[UUID]
) -> Mapping[UUID, date]:
    """Return the day of each lease known to billing: requests count in the day of their lease."""
    rows = await connection.fetch(
        "SELECT lease_id, date FROM quota_leases WHERE user_id = ANY ($1) AND lease_id = ANY ($2)",
        user_ids,
        lease_ids,
    )
    return {row["lease_id"]: row["date"] for row in rows}


async def lock_days(connection: Connection, days: Sequence[UserDay]) -> None:
    """Lock days in a fixed order, creating missing rows with the limit of the user's plan."""
    ordered = sorted(days)
    users, dates = [user_id for user_id, _ in ordered], [day for _, day in ordered]
    await connection.execute(
        """
        INSERT INTO user_api_usage (user_id, date, daily_limit)
        SELECT day.user_id, day.date, p.daily_api_requests
        FROM unnest($1::bigint[], $2::date[]) AS day (user_id, date)
             LEFT JOIN user_subscriptions s
                 ON s.user_id = day.user_id AND s.status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')
             LEFT JOIN subscription_plans p
                 ON CASE WHEN s.plan_id IS NULL THEN p.name = 'FREE' AND p.is_active ELSE p.plan_id = s.plan_id END
        ORDER BY 1, 2
        ON CONFLICT DO NOTHING
        """,
        users,
        dates,
    )
    await connection.execute(
        """
        SELECT FROM user_api_usage JOIN unnest($1::bigint[], $2::date[]) AS day (user_id, date)
             USING (user_id, date)
        ORDER BY user_id, date FOR UPDATE OF user_api_usage
        """,
        users,
        dates,
    )


async def insert_reports(connection: Connection, reports: Sequence[RequestReport]) -> list[RequestReport]:
    """Insert reports. Returns the new ones; a report that is delivered again is not booked twice."""
    rows = await connection.fetch(
        """
        INSERT INTO api_usage_reports (user_id, lease_id, kind, window_number, date, requests)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::integer[], $5::date[], $6::integer[])
        ON CONFLICT DO NOTHING
        RETURNING user_id, lease_id, kind, window_number, date, requests
        """,
        [report.user_id for report in reports],
        [report.lease_id for report in reports],
        [report.kind for report in reports],
        [report.window for report in reports],
        [report.date for report in reports],
        [report.requests for report in reports],
    )
    return [RequestReport(*row) for row in rows]


@dataclass(frozen=True)
class DayTotal:
    user_id: int
    date: date
    used: int
    limit: int | None


async def update_days(connection: Connection, reports: Sequence[RequestReport]) -> list[DayTotal]:
    """Add new reports to their days. Returns the totals."""
    rows = await connection.fetch(
        """
        UPDATE user_api_usage u
        SET trading_requests = u.trading_requests + new.trading,
            analysis_requests = u.analysis_requests + new.analysis,
            backtest_requests = u.backtest_requests + new.backtest,
            other_requests = u.other_requests + new.other
        FROM (SELECT user_id, date,
                     coalesce(sum(requests) FILTER (WHERE kind = 'trading'), 0) AS trading,
                     coalesce(sum(requests) FILTER (WHERE kind = 'analysis'), 0) AS analysis,
                     coalesce(sum(requests) FILTER (WHERE kind = 'backtest'), 0) AS backtest,
                     coalesce(sum(requests) FILTER (WHERE kind = 'other'), 0) AS other
              FROM unnest($1::bigint[], $2::date[], $3::text[], $4::integer[]) AS r (user_id, date, kind, requests)
              GROUP BY user_id, date) AS new
        WHERE u.user_id = new.user_id AND u.date = new.date
        RETURNING u.user_id, u.date, u.total_requests, u.daily_limit
        """,
        [report.user_id for report in reports],
        [report.date for report in reports],
        [report.kind for report in reports],
        [report.requests for report in reports],
    )
    return [DayTotal(*row) for row in rows]


async def update_reported(connection: Connection, reports: Sequence[RequestReport]) -> None:
    """Add new reports to their leases, which no longer hold the requests now booked in the day."""
    await connection.execute(
        """
        UPDATE quota_leases q SET reported = q.reported + new.requests
        FROM (SELECT user_id, lease_id, sum(requests) AS requests
              FROM unnest($1::bigint[], $2::uuid[], $3::integer[]) AS r (user_id, lease_id, requests)
              GROUP BY user_id, lease_id) AS new
        WHERE q.user_id = new.user_id AND q.lease_id = new.lease_id
        """,
        [report.user_id for report in reports],
        [report.lease_id for report in reports],
        [report.requests for report in reports],
    )


async def find_day(connection: Connection, user_id: int, day: date) -> ApiDay | None:
    row = await connection.fetchrow(
        """
        SELECT date, total_requests, trading_requests, analysis_requests, backtest_requests, daily_limit,
               requests_remaining
        FROM user_api_usage WHERE user_id = $1 AND date = $2
        """,
        user_id,
        day,
    )
    return None if row is None else ApiDay(*row)


@dataclass(frozen=True)
class ReachedThreshold:
    user_id: int
    meter: str
    period_start: datetime
    percent: int
    used: int
    limit: int


async def insert_thresholds(
    connection: Connection, thresholds: Sequence[ReachedThreshold], now: datetime
) -> set[tuple[int, str, datetime, int]]:
    """Insert thresholds. Returns those not published yet, by user, meter, period and percent."""
    rows: list[asyncpg.Record] = await connection.fetch(
        """
        INSERT INTO usage_thresholds (user_id, meter, period_start, percent, used, allowed, reached_at)
        SELECT *, $7::timestamptz FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::smallint[],
                                              $5::bigint[], $6::bigint[])
        ON CONFLICT DO NOTHING RETURNING user_id, meter, period_start, percent
        """,
        [each.user_id for each in thresholds],
        [each.meter for each in thresholds],
        [each.period_start for each in thresholds],
        [each.percent for each in thresholds],
        [each.used for each in thresholds],
        [each.limit for each in thresholds],
        now,
    )
    return {tuple(row) for row in rows}
