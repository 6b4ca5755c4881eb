"""Book the requests reported by services, each report once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.billing.domain import QuotaRefusal, day_of
from services.billing.operations.quotas import publish_quotas
from services.billing.operations.thresholds import Meter, MeterReading, publish_thresholds
from services.billing.queries import quotas, requests
from services.billing.queries.requests import DayTotal, RequestReport
from shared.chassis.postgres import Connection
from shared.contracts.billing import UsageRecorded

REFUSAL_RETENTION = timedelta(days=2)
REPORT_RETENTION = timedelta(days=31)  # longer than an event may be delayed: the inbox keeps 30 days


async def book_requests(connection: Connection, events: Sequence[UsageRecorded], now: datetime) -> None:
    """Book requests in the day they were made, and publish the thresholds and quotas that this changes."""
    reports = [_report_of(event) for event in events]
    days = list({(report.user_id, report.date) for report in reports})
    begun = await requests.lock_days(connection, days)
    if begun:
        today = day_of(now).start
        await quotas.delete_before(
            connection, begun, (today - REFUSAL_RETENTION).date(), (today - REPORT_RETENTION).date()
        )
    new_reports = await requests.insert_reports(connection, [report for report in reports if report.requests > 0])
    await quotas.upsert_refusals(connection, [refusal for event in events for refusal in _refusals_of(event)])
    totals = await requests.update_days(connection, days, new_reports)
    public_ids = {event.user_id: event.public_id for event in events}
    await publish_thresholds(connection, [_reading(total) for total in totals], public_ids, now)
    await publish_quotas(connection, totals, public_ids, now)


def _report_of(event: UsageRecorded) -> RequestReport:
    day = event.window_start.astimezone(UTC).date()
    return RequestReport(event.user_id, event.lease_id, event.kind, event.window, day, event.used)


def _refusals_of(event: UsageRecorded) -> list[QuotaRefusal]:
    return [
        QuotaRefusal(
            event.user_id,
            event.recorded_by,
            each.operation,
            each.login_id,
            each.used,
            each.limit,
            each.refused_at,
        )
        for each in event.refusals
    ]


def _reading(total: DayTotal) -> MeterReading:
    noon = datetime(total.date.year, total.date.month, total.date.day, 12, tzinfo=UTC)
    meter: Meter = "api_requests"
    return MeterReading(total.user_id, meter, total.used, total.limit, day_of(noon))
