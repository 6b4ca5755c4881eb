"""Book the requests reported by services, each report once."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.billing.domain import day_of
from services.billing.operations.thresholds import Meter, MeterReading, publish_thresholds
from services.billing.queries import leases, requests
from services.billing.queries.requests import DayTotal, RequestReport
from shared.chassis.postgres import Connection
from shared.contracts.billing import UsageRecorded


async def book_requests(connection: Connection, events: Sequence[UsageRecorded], now: datetime) -> None:
    """Book requests in the day of their lease, or for a lease unknown to billing in the day they were used."""
    reports = await _reports(connection, events)
    await requests.lock_days(connection, list({(report.user_id, report.date) for report in reports}))
    new_reports = await requests.insert_reports(connection, reports)
    if not new_reports:
        return
    await leases.lock_leases(
        connection, [report.user_id for report in new_reports], [report.lease_id for report in new_reports]
    )
    await requests.update_reported(connection, new_reports)
    totals = await requests.update_days(connection, new_reports)
    public_ids = {event.user_id: event.public_id for event in events}
    await publish_thresholds(connection, [_reading(total) for total in totals], public_ids, now)


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


def _reading(total: DayTotal) -> MeterReading:
    noon = datetime(total.date.year, total.date.month, total.date.day, 12, tzinfo=UTC)
    meter: Meter = "api_requests"
    return MeterReading(total.user_id, meter, total.used, total.limit, day_of(noon))
