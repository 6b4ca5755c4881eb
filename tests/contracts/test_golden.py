"""Every message ever published can still be read, and the same content is still written in the same bytes."""

import json
from typing import get_args
from uuid import uuid4

import pytest
from pydantic import ConfigDict, create_model

from shared.chassis.errors import NewerVersionError, PoisonError
from shared.chassis.events.decoding import decode
from shared.chassis.events.headers import from_wire, to_wire
from shared.contracts.catalog import BY_TOPIC, EVENTS
from shared.contracts.envelope import Message
from shared.contracts.market import MarketInterest
from tests.contracts.compatibility import breaks
from tests.contracts.golden import Golden, all_golden, first_file, read, serialise
from tests.contracts.samples import PUBLISHED_AT, SAMPLES

GOLDEN = all_golden()
every_golden = pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden.topic}.v{golden.version}")


def test_every_version_of_every_event_in_the_catalogue_has_its_file() -> None:
    stored = {(golden.topic, golden.version) for golden in GOLDEN}
    missing = [first_file(event).name for event in EVENTS if (event.topic, event.version) not in stored]
    assert not missing, "python -m tests.contracts.golden"
    for event in EVENTS:
        versions = {version for topic, version in stored if topic == event.topic}
        assert versions == set(range(1, event.version + 1)), event.topic


@every_golden
def test_the_current_reader_reads_it(golden: Golden) -> None:
    headers = from_wire(to_wire(golden.headers))
    event = decode(golden.topic, golden.key, golden.value.encode(), headers)
    assert type(event) is BY_TOPIC[golden.topic]
    assert event.published_at == PUBLISHED_AT


@every_golden
def test_a_message_that_was_read_is_written_in_the_same_bytes(golden: Golden) -> None:
    event = BY_TOPIC[golden.topic].model_validate_json(golden.value)
    assert event.model_dump_json(exclude_unset=True) == golden.value


@every_golden
def test_the_reader_ignores_unknown_fields(golden: Golden) -> None:
    more = {**json.loads(golden.value), "a_field_of_tomorrow": {"deep": [1, None]}}
    for value in more.values():
        if isinstance(value, dict):
            value["another"] = "x"
    read_again = decode(golden.topic, golden.key, json.dumps(more).encode(), dict(golden.headers))
    known = BY_TOPIC[golden.topic].model_validate_json(golden.value)
    if golden.topic != "alert.triggered":  # its condition is free-form JSON
        assert read_again.model_dump() == known.model_dump()


@every_golden
def test_no_field_was_removed_or_given_another_type(golden: Golden) -> None:
    assert breaks(golden.schema, BY_TOPIC[golden.topic]) == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_the_current_writer_writes_the_same_bytes(event: type[Message]) -> None:
    golden = read(first_file(event))
    assert serialise(SAMPLES[event.topic]) == (golden.key, golden.headers, golden.value)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_every_current_field_is_in_a_file_of_this_version(event: type[Message]) -> None:
    held: set[str] = set()
    for golden in GOLDEN:
        if (golden.topic, golden.version) == (event.topic, event.version):
            held |= json.loads(golden.value).keys()
    assert held == set(event.model_fields)


@every_golden
def test_a_newer_version_is_not_read_as_this_one(golden: Golden) -> None:
    newer = f"tradefleet:{golden.topic}:{BY_TOPIC[golden.topic].version + 1}"
    with pytest.raises(NewerVersionError):
        decode(golden.topic, golden.key, golden.value.encode(), {**golden.headers, "ce_dataschema": newer})


@every_golden
def test_another_key_is_poison(golden: Golden) -> None:
    with pytest.raises(PoisonError, match="key"):
        decode(golden.topic, golden.key + "1", golden.value.encode(), {**golden.headers, "ce_id": str(uuid4())})


def test_the_samples_cover_difficult_values() -> None:
    closed = read(first_file(BY_TOPIC["trade.closed"])).value
    assert '"exit_price":"97000"' in closed
    assert '"pnl":"-0.1","pnl_percentage":"0"' in closed
    assert '"quantity":"0.000000000000000001"' in closed
    assert '"entry_time":"2026-01-31T09:15:00.000Z","exit_time":"2026-01-31T09:29:59.999999Z"' in closed


def test_the_services_that_can_request_series_are_known() -> None:
    assert SAMPLES["market.interest"].model_fields_set >= {"wished_by"}
    assert set(get_args(MarketInterest.model_fields["wished_by"].annotation)) == {
        "trading",
        "analytics",
        "notifications",
    }


def test_fields_in_another_order_change_the_bytes() -> None:
    event = BY_TOPIC["session.stopped"]
    fields = {name: (field.annotation, field) for name, field in reversed(event.model_fields.items())}
    turned = create_model("Turned", __config__=ConfigDict(frozen=True), **fields)  # type: ignore[call-overload]
    golden = read(first_file(event))
    assert turned.model_validate_json(golden.value).model_dump_json(exclude_unset=True) != golden.value
