"""`from` and `to`: a time, or a date, which is a whole day of the user's own."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from services.analytics.domain.days import day_start
from shared.chassis.paging import PageQuery
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
        raise ValueError("is not a date that exists") from error
    if parsed.year not in YEARS:
        raise ValueError(f"must be between {YEARS.start} and {YEARS.stop}")
    return parsed


Moment = Annotated[
    date,
    PlainValidator(_date_or_time),
    WithJsonSchema({"anyOf": [{"type": "string", "format": form} for form in ("date", "date-time")]}),
]
"""A date, or an aware datetime (which is a date to Python as well)."""


class PeriodQuery(QueryModel):
    mode: Mode = "PAPER"
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None


class PagedPeriodQuery(PageQuery, PeriodQuery):
    pass


@dataclass(frozen=True)
class Period:
    """The end is not included; None where it is open."""

    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, first: date | None, last: date | None, zone: ZoneInfo) -> "Period":
        return cls(_first_moment(first, zone), _last_moment(last, zone))


def _first_moment(value: date | None, zone: ZoneInfo) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return day_start(value, zone)


def _last_moment(value: date | None, zone: ZoneInfo) -> datetime | None:
    """A whole day is in it to its end."""
    if value is None or isinstance(value, datetime):
        return value
    return day_start(value + timedelta(days=1), zone)


def first_date(value: date | None, zone: ZoneInfo) -> date | None:
    """The user's day in which it lies."""
    return value.astimezone(zone).date() if isinstance(value, datetime) else value


def last_date(value: date | None, zone: ZoneInfo) -> date | None:
    """The user's last day before it, or of which something is before it."""
    if not isinstance(value, datetime):
        return value
    return (value - timedelta(microseconds=1)).astimezone(zone).date()
