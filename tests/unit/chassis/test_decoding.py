"""Records decoded together give what each gives alone, whatever is wrong with one of them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.chassis.events.decoding import Received, decode_record, decode_records
from shared.chassis.events.fetch import Unreadable
from shared.contracts.types import Amount, Instant
from tests.contracts.samples import SAMPLES
from tests.hostile.mutations import Headers, Mutation, good, mutations

SEED, COUNT = 12, 400


@dataclass(frozen=True)
class Record:
    """A record as aiokafka returns it."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int = 0
    offset: int = 0


def record_of(message: Mutation) -> Record:
    return Record(message.key, message.value, message.headers)


def shown(received: Received) -> tuple[object, ...]:
    """Return everything that is known of a record; the event with its receipt."""
    event = received.event
    receipt = event and (event.published_at, event.message_id, event.is_replayed)
    return (*received, receipt, received.user_id, received.stored_order_key)


BAD = list(mutations(SEED, COUNT))


@pytest.mark.parametrize("topic", sorted(SAMPLES))
def test_a_bad_record_changes_nothing_for_the_others(topic: str) -> None:
    valid = [record_of(good(SAMPLES[topic], number)) for number in (1, 2)]
    bad = [each for each in BAD if each.topic == topic]
    assert bad
    alone = [shown(decode_record(topic, each)) for each in valid]
    for each in bad:
        together = decode_records(topic, [valid[0], record_of(each), valid[1]])
        expected = [alone[0], shown(decode_record(topic, record_of(each))), alone[1]]
        assert [shown(received) for received in together] == expected, each.what


def test_values_that_are_only_valid_when_joined_are_refused() -> None:
    one = good(SAMPLES["trade.closed"], 1)
    assert one.value is not None
    middle = len(one.value) // 2
    for parts in ((one.value[:middle], one.value[middle:]), (one.value + b"," + one.value, b"")):
        received = decode_records("trade.closed", [Record(one.key, part, one.headers) for part in parts])
        assert [each.event for each in received] == [None, None]


def test_a_record_that_the_client_library_could_not_parse_is_reported() -> None:
    one = record_of(good(SAMPLES["trade.closed"], 1))
    received = decode_records("trade.closed", [one, Unreadable("trade.closed", 0, 7, "header names")])
    assert [each.fault for each in received] == ["", "header names"]
    assert received[0].event is not None


def test_an_event_of_an_unknown_topic_is_refused() -> None:
    (received,) = decode_records("trade.vanished", [record_of(good(SAMPLES["trade.closed"], 1))])
    assert received.fault == "trade.vanished is not one of our topics"


AMOUNT = TypeAdapter[Decimal](Amount)
INSTANT = TypeAdapter[datetime](Instant)
NEARLY = st.text("0123456789.-+eE_ NaInfty\u0660\n:TZ", max_size=45)


def outcome(adapter: TypeAdapter[object], json: str | None, value: object) -> object:
    """Return the exact result, or the message of the refusal; of JSON if there is some."""
    try:
        return repr(adapter.validate_python(value) if json is None else adapter.validate_json(json))
    except ValidationError as error:
        return [each["msg"] for each in error.errors()]


@given(st.from_regex(r"\A-?\d{1,21}(\.\d{1,19})?\Z") | NEARLY)
def test_an_amount_in_json_is_read_like_one_in_python(text: str) -> None:
    json = TypeAdapter(str).dump_json(text).decode()
    assert outcome(AMOUNT, json, None) == outcome(AMOUNT, None, text)  # type: ignore[arg-type]  # invariant


@given(st.from_regex(r"\A\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:\d\d(\.\d{1,7})?(Z|[+-][0-2]\d:\d\d)\Z") | NEARLY)
def test_a_time_in_json_is_read_like_one_in_python(text: str) -> None:
    json = TypeAdapter(str).dump_json(text).decode()
    assert outcome(INSTANT, json, None) == outcome(INSTANT, None, text)  # type: ignore[arg-type]  # invariant


@pytest.mark.parametrize("json", ["1.5", "1", "1e999999", "null", "true", "[]", "{}", "1e5", "-0"])
def test_a_json_value_that_is_no_string_is_neither_an_amount_nor_a_time(json: str) -> None:
    amount = "Value error, must be a decimal string of at most 20 digits before the point and 18 after it"
    assert outcome(AMOUNT, json, None) == [amount]  # type: ignore[arg-type]  # invariant
    assert outcome(INSTANT, json, None) == ["Value error, must be a time as a string"]  # type: ignore[arg-type]
