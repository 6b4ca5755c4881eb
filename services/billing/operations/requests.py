"""Requests that services report are booked, each report once."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.billing.domain import day_of
from services.billing.operations.thresholds import Meter, Used, say_thresholds
from services.billing.queries import leases, requests
from services.billing.queries.requests import DayTotal, RequestReport
from shared.chassis.postgres import Connection
from shared.contracts.billing import UsageRecorded


async def book_requests(connection: Connection, events: Sequence[UsageRecorded], now: datetime) -> None:
    """In the day that the block was leased from; of a block that nobody leased, in that in which it was used."""
    reports = await _reports(connection, events)
    await requests.lock_days(connection, list({(report.user_id, report.date) for report in reports}))
    fresh = await requests.insert_reports(connection, reports)
    if not fresh:
        return
    await leases.lock_leases(
        connection, [report.user_id for report in fresh], [report.lease_id for report in fresh]
    )
    await requests.update_reported(connection, fresh)
    totals = await requests.update_days(connection, fresh)
    public_ids = {event.user_id: event.public_id for event in events}
    await say_thresholds(connection, [_used(total) for total in totals], public_ids, now)


async def _reports(connection: Connection, events: Sequence[UsageRecorded]) -> list[RequestReport]:
    days = await requests.find_lease_days(
        connection, [event.user_id for event in events], [event.lease_id for event in events]
    )
    return [
        RequestReport(
            event.user_id,
            event.lease_id,
            event.kind,
            event.window,
            days.get(event.lease_id, event.window_start.astimezone(UTC).date()),
            event.count,
        )
        for event in events
    ]


def _used(total: DayTotal) -> Used:
    noon = datetime(total.date.year, total.date.month, total.date.day, 12, tzinfo=UTC)
    meter: Meter = "api_requests"
    return Used(total.user_id, meter, total.used, total.limit, day_of(noon))
