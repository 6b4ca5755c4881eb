"""What is said when a meter comes to 80 and to 100 % of its limit: once per meter, period and threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.billing.domain import THRESHOLDS, Period, reached
from services.billing.queries.requests import ReachedThreshold, insert_thresholds
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.billing import UsageThreshold
from shared.contracts.types import instant_text

Meter = Literal["trades", "api_requests"]


@dataclass(frozen=True)
class Used:
    user_id: int
    meter: Meter
    used: int
    limit: int | None
    period: Period


async def say_thresholds(
    connection: Connection, meters: Sequence[Used], public_ids: Mapping[int, UUID], now: datetime
) -> None:
    """Called with what the meters count locked, so that a period's thresholds are said in their order."""
    due = [(each, percent) for each in meters for percent in reached(each.used, each.limit)]
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


def _event(each: Used, percent: Literal[80, 100], public_id: UUID) -> UsageThreshold:
    assert each.limit is not None, "without a limit there is no threshold"
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
