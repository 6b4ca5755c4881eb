"""Money and time on the wire."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.contracts.catalog import EVENTS
from shared.contracts.types import Amount, Instant, decimal_text, from_ms, instant_text, new_id, to_ms

AMOUNT = TypeAdapter[Decimal](Amount)
INSTANT = TypeAdapter[datetime](Instant)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19))
def test_an_amount_survives_serialization(amount: Decimal) -> None:
    assert AMOUNT.validate_json(AMOUNT.dump_json(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "text"), [("1.50", "1.5"), ("100.0", "100"), ("-0", "0"), ("1E+2", "100"), ("0.000", "0")]
)
def test_plain_notation_has_no_trailing_zeros(amount: str, text: str) -> None:
    assert decimal_text(Decimal(amount)) == text


@pytest.mark.parametrize(
    "wrong", ['"1_000"', '"1e5"', '"NaN"', "1.5", "1", '""', '"+1"', '".5"', '"1."', '" 1"', '"1\\n"', "true"]
)
def test_an_invalid_amount_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError):
        AMOUNT.validate_json(wrong)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)))  # noqa: DTZ001
def test_a_time_survives_serialization(moment: datetime) -> None:
    assert INSTANT.validate_python(instant_text(moment)) == moment


@given(st.integers(min_value=-(10**13), max_value=10**14))
def test_milliseconds_are_exact(milliseconds: int) -> None:
    assert to_ms(from_ms(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    "wrong", ["2026-01-31T09:30:00", "2026-02-30T00:00:00Z", "2026-01-31", "now", "1700000000"]
)
def test_a_time_without_zone_or_an_invalid_one_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError):
        INSTANT.validate_python(wrong)
    with pytest.raises(ValidationError):
        INSTANT.validate_python(datetime(2026, 1, 31))  # noqa: DTZ001


def test_ids_increase_with_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert {made.version for made in ids} == {7}


def test_every_event_has_a_topic_a_source_and_partitions() -> None:
    topics = [event.topic for event in EVENTS]
    assert len(topics) == len(set(topics))
    for event in EVENTS:
        assert event.source in ("auth", "billing", "trading", "analytics", "notifications")
        assert event.partitions >= 1


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_the_calendar_are_refused(end: str) -> None:
    with pytest.raises(ValidationError):
        INSTANT.validate_python(end)
