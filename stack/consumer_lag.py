"""How far consumer groups are behind their topics."""

from collections import Counter

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.handlers import partitions_of


async def consumer_lag(admin: AIOKafkaAdminClient, kafka: KafkaAccess | str, prefix: str) -> Counter[str]:
    """Return uncommitted messages by group; ignores groups without our prefix on a shared broker."""
    lag: Counter[str] = Counter()
    consumer = AIOKafkaConsumer(**client_options(kafka), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        for group in [name for name, *_ in await admin.list_consumer_groups() if name.startswith(prefix)]:
            committed = await admin.list_consumer_group_offsets(group)
            topics = sorted({partition.topic for partition in committed})
            partitions = await partitions_of(kafka, topics) if topics else []
            ends = await consumer.end_offsets(partitions)
            behind = sum(
                max(0, ends[partition] - max(0, committed[partition].offset if partition in committed else 0))
                for partition in partitions
            )
            if behind:
                lag[group] = behind
    finally:
        await consumer.stop()
    return lag
