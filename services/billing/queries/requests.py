"""Requests per UTC day, booked from the reports of services, and published thresholds."""

from collections.abc import Sequence
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
    """A number of requests of one kind from one instance of a service in one window."""

    user_id: int
    instance: UUID
    kind: RequestKind
    window: int
    date: date
    requests: int


async def lock_days(connection: Connection, days: Sequence[UserDay]) -> list[int]:
    """Lock days in a fixed order, creating missing rows. Returns the users of the created ones."""
    ordered = sorted(days)
    users, dates = [user_id for user_id, _ in ordered], [day for _, day in ordered]
    created = await connection.fetch(
        """
        INSERT INTO user_api_usage (user_id, date)
        SELECT * FROM unnest($1::bigint[], $2::date[]) AS day (user_id, date) ORDER BY 1, 2
        ON CONFLICT DO NOTHING RETURNING user_id
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
    return [row["user_id"] for row in created]


async def insert_reports(connection: Connection, reports: Sequence[RequestReport]) -> list[RequestReport]:
    """Insert reports. Returns the new ones; a report that is delivered again is not booked twice."""
    rows = await connection.fetch(
        """
        INSERT INTO api_usage_reports (user_id, instance, kind, window_number, date, requests)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::integer[], $5::date[], $6::integer[])
        ON CONFLICT DO NOTHING
        RETURNING user_id, instance, kind, window_number, date, requests
        """,
        [report.user_id for report in reports],
        [report.instance for report in reports],
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


async def update_days(
    connection: Connection, days: Sequence[UserDay], reports: Sequence[RequestReport]
) -> list[DayTotal]:
    """Add new reports to these days, and set the limit of the user's current plan. Returns the totals.

    A user whose subscription is not known yet has no limit.
    """
    rows = await connection.fetch(
        """
        UPDATE user_api_usage u
        SET trading_requests = u.trading_requests + new.trading,
            analysis_requests = u.analysis_requests + new.analysis,
            backtest_requests = u.backtest_requests + new.backtest,
            other_requests = u.other_requests + new.other,
            daily_limit = new.daily_limit
        FROM (SELECT day.user_id, day.date, p.daily_api_requests AS daily_limit,
                     coalesce(sum(requests) FILTER (WHERE kind = 'trading'), 0) AS trading,
                     coalesce(sum(requests) FILTER (WHERE kind = 'analysis'), 0) AS analysis,
                     coalesce(sum(requests) FILTER (WHERE kind = 'backtest'), 0) AS backtest,
                     coalesce(sum(requests) FILTER (WHERE kind = 'other'), 0) AS other
              FROM unnest($1::bigint[], $2::date[]) AS day (user_id, date)
                   LEFT JOIN unnest($3::bigint[], $4::date[], $5::text[], $6::integer[])
                       AS r (user_id, date, kind, requests) USING (user_id, date)
                   LEFT JOIN user_subscriptions s
                       ON s.user_id = day.user_id AND s.status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')
                   LEFT JOIN subscription_plans p
                       ON CASE WHEN s.plan_id IS NOT NULL THEN p.plan_id = s.plan_id
                               ELSE p.name = 'FREE' AND p.is_active
                                    AND EXISTS (SELECT FROM user_subscriptions ended
                                                WHERE ended.user_id = day.user_id) END
              GROUP BY day.user_id, day.date, p.daily_api_requests) AS new
        WHERE u.user_id = new.user_id AND u.date = new.date
        RETURNING u.user_id, u.date, u.total_requests, u.daily_limit
        """,
        [user_id for user_id, _ in days],
        [day for _, day in days],
        [report.user_id for report in reports],
        [report.date for report in reports],
        [report.kind for report in reports],
        [report.requests for report in reports],
    )
    return [DayTotal(*row) for row in rows]


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
