"""The lag of consumer groups: messages of their topics that they have not committed."""

from collections import Counter
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.handlers import partitions_of


async def consumer_lag(admin: AIOKafkaAdminClient, kafka: KafkaAccess | str, prefix: str) -> Counter[str]:
    """Return uncommitted messages by group; ignores groups without our prefix on a shared broker.

    Messages that were deleted before the group read them count no more: nobody can read them.
    """
    groups = [name for name, *_ in await admin.list_consumer_groups() if name.startswith(prefix)]
    committed = {group: await admin.list_consumer_group_offsets(group) for group in groups}
    kept = await _kept_offsets(kafka, sorted({each.topic for offsets in committed.values() for each in offsets}))
    lag: Counter[str] = Counter()
    for group, offsets in committed.items():
        topics = {partition.topic for partition in offsets}
        behind = sum(
            max(0, end - max(begin, offsets[partition].offset if partition in offsets else 0))
            for partition, (begin, end) in kept.items()
            if partition.topic in topics
        )
        if behind:
            lag[group] = behind
    return lag


async def _kept_offsets(
    kafka: KafkaAccess | str, topics: Sequence[str]
) -> Mapping[TopicPartition, tuple[int, int]]:
    """Return the first offset that each partition still has, and the one after its last."""
    if not topics:
        return {}
    consumer = AIOKafkaConsumer(**client_options(kafka), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = await partitions_of(kafka, topics)
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    return {partition: (begins[partition], ends[partition]) for partition in partitions}
