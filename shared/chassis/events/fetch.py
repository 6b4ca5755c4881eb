"""Fetches records; a record that the client library cannot parse is skipped and reported."""

import asyncio
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError

from shared.chassis.events.aiokafka_api import known_positions
from shared.chassis.pause import unless_stopped

# What aiokafka raises for a record that it cannot parse, such as a header name that is not UTF-8 or a compression
# that is not installed. The broker has accepted the record, so every fetch would meet it again.
PARSE_FAULTS = (
    ArithmeticError,
    AssertionError,
    CorruptRecordException,
    EOFError,
    LookupError,
    UnsupportedCodecError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Unreadable:
    """A record that was skipped; its content is unknown."""

    topic: str
    partition: int
    offset: int
    reason: str


Fetched = Mapping[TopicPartition, Sequence[ConsumerRecord | Unreadable]]


async def fetch(
    consumer: AIOKafkaConsumer, *, timeout_ms: int, max_records: int, stop: asyncio.Event | None = None
) -> Fetched:
    """Fetch the next records by partition, in order; none once `stop` is set. Raises KafkaError."""
    before = known_positions(consumer)
    try:
        getting = consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return await (getting if stop is None else unless_stopped(getting, stop)) or {}
    except PARSE_FAULTS:
        # Records of other partitions may be lost with the failed fetch, so all are fetched again.
        assigned = consumer.assignment()
        for partition, offset in before.items():
            if partition in assigned:
                consumer.seek(partition, offset)
        return await _fetch_singly(consumer, list(before), timeout_ms, max_records)


async def _fetch_singly(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], timeout_ms: int, max_records: int
) -> Fetched:
    """Fetch record by record up to the one that cannot be parsed; skip that one if it is the first."""
    fetched: dict[TopicPartition, list[ConsumerRecord | Unreadable]] = {}
    for partition in partitions:
        if (consumer.highwater(partition) or 0) <= await consumer.position(partition):
            continue
        records = fetched.setdefault(partition, [])
        try:
            while len(records) < max_records:
                fetched_one = await consumer.getmany(partition, timeout_ms=timeout_ms, max_records=1)
                if not fetched_one:
                    break
                records += fetched_one[partition]
        except PARSE_FAULTS as error:
            if not records:
                offset = await consumer.position(partition)
                reason = f"cannot be parsed as a record: {error!r:.200}"
                records.append(Unreadable(partition.topic, partition.partition, offset, reason))
                consumer.seek(partition, offset + 1)
            else:
                consumer.seek(partition, records[-1].offset + 1)
    return {partition: records for partition, records in fetched.items() if records}
