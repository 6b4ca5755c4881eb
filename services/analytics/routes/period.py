"""The query parameters `from` and `to`: a time, or a date, which means a whole day in the user's time zone."""

import re
from datetime import date, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from services.analytics.domain.local_days import ONE_DAY, Cutoff, LocalPeriod, day_start, first_date, last_date
from shared.chassis.http.paging import ListQuery
from shared.contracts.types import Instant, QueryModel

Mode = Literal["PAPER", "LIVE"]

YEARS = range(1970, 2200)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


def _date_or_time(value: object) -> date:
    try:
        is_date = isinstance(value, str) and _DATE.fullmatch(value)
        parsed = date.fromisoformat(str(value)) if is_date else _INSTANT.validate_python(value)
    except ValidationError as error:
        raise ValueError("must be a date, or a time with its offset such as 2026-01-31T09:30:00Z") from error
    except ValueError as error:
        raise ValueError("is not an existing date") from error
    if parsed.year not in YEARS:
        raise ValueError(f"must be between {YEARS.start} and {YEARS.stop}")
    return parsed


Moment = Annotated[
    date,
    PlainValidator(_date_or_time),
    WithJsonSchema({"anyOf": [{"type": "string", "format": form} for form in ("date", "date-time")]}),
]
"""A date, or an aware datetime (in Python a subclass of date)."""


class PeriodQuery(QueryModel):
    mode: Mode = "PAPER"
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


class ListPeriodQuery(ListQuery, PeriodQuery):
    pass


def period_of(first: date | None, last: date | None, zone: ZoneInfo) -> LocalPeriod:
    """Return the period from `first` to `last`. A `last` that is a date is included to its end."""
    if last is not None and not isinstance(last, datetime):
        last += ONE_DAY
    return LocalPeriod(_cutoff(first, zone), _cutoff(last, zone))


def _cutoff(value: date | None, zone: ZoneInfo) -> Cutoff | None:
    if isinstance(value, datetime):
        return Cutoff(value)
    return None if value is None else day_start(value, zone)


def first_day(value: date | None, zone: ZoneInfo) -> date | None:
    """Return the user's first day that has a part at or after `value`."""
    return first_date(value, zone) if isinstance(value, datetime) else value


def last_day(value: date | None, zone: ZoneInfo) -> date | None:
    """Return the user's last day that has a part before `value`."""
    return last_date(value, zone) if isinstance(value, datetime) else value
