"""A record larger than any of ours is neither decoded nor kept: it would block its reader."""

import time

import pytest
from aiokafka import ConsumerRecord

from shared.chassis.events.decoding import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_VALUE_BYTES,
    Received,
    decode_record,
)
from shared.chassis.events.headers import from_wire
from tests.contracts.samples import SAMPLES
from tests.hostile.mutations import good

GOOD = good(SAMPLES["trade.closed"], 1)


def decoded(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> Received:
    record = ConsumerRecord("trade.closed", 0, 7, 0, 0, key, value, None, 0, 0, tuple(headers))
    return decode_record("trade.closed", record)


def test_a_normal_record_is_decoded() -> None:
    assert decoded(GOOD.key, GOOD.value, GOOD.headers).fault == ""


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (GOOD.key, GOOD.value, [*GOOD.headers, *[("more", b"")] * MAX_HEADERS]),
        (GOOD.key, GOOD.value, [*GOOD.headers, ("more", b"x" * MAX_HEADER_BYTES)]),
        (GOOD.key, GOOD.value, [*GOOD.headers, ("x" * MAX_HEADER_BYTES, None)]),
        (GOOD.key, b" " * MAX_VALUE_BYTES, GOOD.headers),
        (b"7" * MAX_VALUE_BYTES, GOOD.value, GOOD.headers),
    ],
    ids=["headers", "a header's value", "a header's name", "body", "key"],
)
def test_a_record_that_is_too_large_is_reported_and_not_kept(
    key: bytes, value: bytes, headers: list[tuple[str, bytes | None]]
) -> None:
    received = decoded(key, value, headers)
    assert (received.event, received.payload, received.headers, received.offset) == (None, b"", {}, 7)
    assert "more than" in received.fault


def test_many_headers_of_the_same_name_take_linear_time() -> None:
    began = time.perf_counter()
    from_wire([("one", b"0123456789")] * 100_000)
    assert time.perf_counter() - began < 2  # seconds; joining them one by one would take many times as long
