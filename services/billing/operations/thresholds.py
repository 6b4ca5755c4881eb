"""Publish `usage.threshold` when a meter reaches 80 and 100 % of its limit, once per meter and period."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.billing.domain import THRESHOLDS, Period, reached_thresholds
from services.billing.queries.requests import ReachedThreshold, insert_thresholds
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.billing import UsageThreshold
from shared.contracts.types import instant_text

Meter = Literal["trades", "api_requests"]


@dataclass(frozen=True)
class MeterReading:
    """The usage of a meter in a period."""

    user_id: int
    meter: Meter
    used: int
    limit: int | None
    period: Period


async def publish_thresholds(
    connection: Connection, readings: Sequence[MeterReading], public_ids: Mapping[int, UUID], now: datetime
) -> None:
    """Publish the thresholds that these readings have reached and that were not published before.

    The caller holds a lock on the metered rows, so that a period's thresholds are published in order.
    """
    due = [(each, percent) for each in readings for percent in reached_thresholds(each.used, each.limit)]
    if not due:
        return
    new = await insert_thresholds(
        connection,
        [
            ReachedThreshold(each.user_id, each.meter, each.period.start, percent, each.used, each.limit or 0)
            for each, percent in due
        ],
        now,
    )
    await emit(
        connection,
        *(
            _event(each, percent, public_ids[each.user_id])
            for each, percent in due
            if (each.user_id, each.meter, each.period.start, percent) in new
        ),
    )


def _event(each: MeterReading, percent: Literal[80, 100], public_id: UUID) -> UsageThreshold:
    assert each.limit is not None, "without a limit no threshold is reached"
    return UsageThreshold(
        user_id=each.user_id,
        public_id=public_id,
        aggregate=f"usage:{each.meter}:{public_id}:{instant_text(each.period.start)}",
        aggregate_seq=THRESHOLDS.index(percent) + 1,
        meter=each.meter,
        used=each.used,
        limit=each.limit,
        percent=percent,
        period_start=each.period.start,
        period_end=each.period.end,
    )
