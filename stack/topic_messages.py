"""Reads whole topics."""

from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.handlers import partitions_of


async def read_messages(kafka: KafkaAccess | str, topics: Sequence[str]) -> AsyncIterator[ConsumerRecord]:
    """Yield the messages of the topics from the first to the present last one, in order per partition."""
    consumer = AIOKafkaConsumer(**client_options(kafka), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = await partitions_of(kafka, topics)
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        unread = {partition for partition in partitions if ends[partition] > 0}
        while unread:
            for records in (await consumer.getmany(timeout_ms=500, max_records=5_000)).values():
                for record in records:
                    yield record
            unread = {partition for partition in unread if await consumer.position(partition) < ends[partition]}
    finally:
        await consumer.stop()
