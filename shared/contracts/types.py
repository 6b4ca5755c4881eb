"""Money, time and ids in their wire format."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import uuid_utils
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

AMOUNT_PATTERN = r"^-?\d{1,20}(\.\d{1,18})?$"
INSTANT_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$"
SYMBOL_PATTERN = r"^[A-Z0-9]{2,30}$"  # the exchange's contracts
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Near the ends of the calendar, the time in another zone may not exist, and Postgres reads infinity.
EARLIEST = datetime(1, 1, 3, tzinfo=UTC)
LATEST = datetime(9999, 12, 29, tzinfo=UTC)

# ASCII only: `\d` would also take the digits of other scripts.
_AMOUNT = re.compile(AMOUNT_PATTERN, re.ASCII)
_STORED_AMOUNT = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_INSTANT = re.compile(INSTANT_PATTERN, re.ASCII)
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def decimal_text(value: Decimal) -> str:
    """Return plain notation without trailing zeros: `1.50` → `1.5`, `1E+2` → `100`, `-0` → `0`."""
    text = str(value)
    if "E" in text:  # rare; always formatting in plain notation would take several times as long
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


_NO_AMOUNT = "must be a decimal string of at most 20 digits before the point and 18 after it"
_NO_TEXT = "must be a time as a string"
_NO_INSTANT = "must be a time with its offset, such as 2026-01-31T09:30:00.123Z"


def _to_decimal(value: object, info: ValidationInfo) -> Decimal:
    config = info.config or {}
    # A number in JSON arrives as a Decimal too, and a client's body must not contain one.
    if isinstance(value, Decimal) and not config.get("strict"):
        if not value.is_finite():
            raise ValueError("must be a finite decimal")
        value = format(value, "f")
    if config.get("from_attributes") and isinstance(value, str) and _STORED_AMOUNT.fullmatch(value):
        return Decimal(value)  # from our own rows: reading must not fail because of the size of a stored value
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise ValueError(_NO_AMOUNT)
    return Decimal(value)


def to_instant(value: object) -> datetime:
    """Return the time in an RFC 3339 text, or of an aware datetime, in UTC. Raises ValueError."""
    if isinstance(value, str):
        if not _INSTANT.fullmatch(value):
            raise ValueError(_NO_INSTANT)
        return _parse_instant(value)
    if not isinstance(value, datetime):
        raise ValueError(_NO_TEXT)
    return _to_utc(value)


def _parse_instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("is not a time that exists") from error
    return _to_utc(moment)


def _to_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must carry an offset from UTC")
    try:
        moment = value if value.tzinfo is UTC else value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("is out of range")
    return moment


def _to_id(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("must be a UUID such as 0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21")
    return UUID(value)


def instant_text(value: datetime) -> str:
    """Return the time as `2026-01-31T09:30:00.123Z`, with microseconds only if there are any."""
    spec = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return value.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def _matching(pattern: str, reason: str) -> CoreSchema:
    """Return a string that matches the pattern (of ASCII only); anything else is refused with this reason."""
    text = core_schema.str_schema(pattern=pattern.replace(r"\d", "[0-9]"), strict=True)
    return core_schema.custom_error_schema(text, "malformed", custom_error_message=f"Value error, {reason}")


class _AmountSchema:
    """Validates amounts in JSON without Python: messages consist of them. Everything else goes to `_to_decimal`."""

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = _matching(AMOUNT_PATTERN, _NO_AMOUNT)
        return core_schema.json_or_python_schema(
            core_schema.chain_schema([text, core_schema.decimal_schema(strict=False)]),
            core_schema.with_info_before_validator_function(_to_decimal, handler(source)),
        )


class _InstantSchema:
    """Validates times in JSON; only the time itself is parsed in Python."""

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.chain_schema([_matching("", _NO_TEXT), _matching(INSTANT_PATTERN, _NO_INSTANT)])
        return core_schema.json_or_python_schema(
            core_schema.chain_schema([text, core_schema.no_info_plain_validator_function(_parse_instant)]),
            core_schema.no_info_before_validator_function(to_instant, handler(source)),
        )


Amount = Annotated[
    Decimal,
    _AmountSchema(),
    PlainSerializer(decimal_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": AMOUNT_PATTERN}),
]
"""Money, price or quantity: a Decimal here, a plain decimal string in JSON. Never a number in JSON."""

Instant = Annotated[
    datetime,
    _InstantSchema(),
    PlainSerializer(instant_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time: an aware UTC datetime here, RFC 3339 in JSON."""


Statistic = float | None
"""A figure computed from amounts, such as a percentage, ratio or mean: a number in JSON, null where undefined."""


Id = Annotated[UUID, BeforeValidator(_to_id)]
"""An id from a client, in canonical form only."""


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970, exact."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970, exact."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """Return the time of microseconds since 1970, exact."""
    return EPOCH + timedelta(microseconds=microseconds)


def from_ms(milliseconds: int) -> datetime:
    """Return the time of milliseconds since 1970, exact; `datetime.fromtimestamp` would use a float."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def new_id() -> UUID:
    """Return a UUIDv7: it rises with time, so that inserts stay in the cached part of an index."""
    return UUID(int=uuid_utils.uuid7().int)


class BodyModel(BaseModel):
    """A JSON body from a client: unknown keys are refused, "5" and 1.0 are not integers, "yes" is not a boolean."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _true_or_false(value: object) -> bool:
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("must be true or false")


Flag = Annotated[bool, BeforeValidator(_true_or_false)]
"""A boolean in a query string: `true` or `false`, as in JSON."""


class QueryModel(BaseModel):
    """A query string from a client, where everything is text: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ViewModel(BaseModel):
    """A response body, built from stored rows. Fields have the API's names (docs/api.md); a field that is stored
    under another name has that one as its `validation_alias`."""

    model_config = ConfigDict(frozen=True, from_attributes=True, validate_by_name=True, validate_by_alias=True)
