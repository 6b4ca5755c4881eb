"""Topics for tests. Creating and deleting a set costs the broker more than most tests do, so it is emptied and used
again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import KafkaError

from stack.topics import Topic, create_topics, delete_topics, open_admin_client, topics_of

TEST_PARTITIONS = 2
EVERYTHING = RecordsToDelete(-1)


def topics_with(prefix: str) -> list[Topic]:
    """Return the topics of all events. Those that are compacted can be emptied as well, which Kafka refuses for
    topics that are only compacted."""
    return [
        replace(topic, settings={"cleanup.policy": "compact,delete", "retention.ms": "-1"})
        if topic.settings["cleanup.policy"] == "compact"
        else topic
        for topic in topics_of(prefix=prefix, max_partitions=TEST_PARTITIONS)
    ]


@dataclass
class TopicSets:
    """Sets of topics of one test process, by their prefixes."""

    bootstrap: str
    _empty: list[str] = field(default_factory=list)

    async def take(self) -> str:
        if self._empty:
            return self._empty.pop()
        prefix = f"t{uuid4().hex[:10]}."
        await create_topics(self.bootstrap, topics_with(prefix))
        return prefix

    async def give_back(self, prefix: str) -> None:
        """Empty the topics.

        They are deleted instead if the test deleted some, or if a group still has a killed consumer as its member,
        because the next consumer would wait for that one.
        """
        async with open_admin_client(self.bootstrap) as admin:
            if not await _has_members(admin, prefix) and await _were_emptied(admin, topics_with(prefix)):
                self._empty.append(prefix)
                return
        await self._delete(prefix)

    async def delete_all(self) -> None:
        for prefix in self._empty:
            await self._delete(prefix)

    async def _delete(self, prefix: str) -> None:
        await delete_topics(self.bootstrap, [topic.name for topic in topics_with(prefix)])


async def _has_members(admin: AIOKafkaAdminClient, prefix: str) -> bool:
    groups = [name for name, *_ in await admin.list_consumer_groups() if name.startswith(prefix)]
    # One by one: aiokafka decodes the second group of an answer wrongly.
    states = [answer.groups[0][2] for name in groups for answer in await admin.describe_consumer_groups([name])]
    return any(state not in ("Empty", "Dead") for state in states)


async def _were_emptied(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> bool:
    partitions = [TopicPartition(topic.name, each) for topic in topics for each in range(topic.partitions)]
    try:
        await admin.delete_records(dict.fromkeys(partitions, EVERYTHING))
    except KafkaError:
        return False
    return True
