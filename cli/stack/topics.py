"""Makes the topics: derived from the events, never auto-created."""

from collections.abc import Sequence
from datetime import timedelta

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Message

DEAD_LETTER_RETENTION = timedelta(days=14)


def topics_of(
    events: Sequence[type[Message]] = EVENTS, prefix: str = "", most_partitions: int = 99
) -> list[NewTopic]:
    """Each event's topic, and for its dead letters another."""
    topics = []
    for event in events:
        configuration = {"cleanup.policy": "compact"} if event.compacted else {"retention.ms": _ms(event.retention)}
        partitions = min(event.partitions, most_partitions)
        topics.append(NewTopic(prefix + event.topic, partitions, 1, topic_configs=configuration))
        dead = {"retention.ms": _ms(DEAD_LETTER_RETENTION)}
        topics.append(NewTopic(f"{prefix}{event.topic}.dlq", 1, 1, topic_configs=dead))
    return topics


async def create_topics(bootstrap: str, topics: Sequence[NewTopic]) -> None:
    """Make those that are not there. Raises KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics(list(topics))
        for _, code, *_ in answer.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)
    finally:
        await admin.close()


async def delete_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Those that are not there do not matter. Raises KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(names))
    finally:
        await admin.close()


def _ms(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))
