"""Expected topics compared with the broker's, and applying the differences; topics are never auto-created."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaTimeoutError, TopicAlreadyExistsError, for_code

from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Message

DEAD_LETTER_RETENTION = timedelta(days=14)
MAX_REPLICAS = 3
VISIBLE_TIMEOUT_S = 10.0
POLL_INTERVAL_S = 0.05
SOURCE_TOPIC = 1  # config source in Kafka's protocol: set on this topic

Outcome = Literal["created", "altered", "refused"]


@dataclass(frozen=True)
class Topic:
    """An expected topic; `settings` are those that we manage, by Kafka's names."""

    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class ExistingTopic:
    """A topic on the broker; `own` are the settings made for this topic rather than inherited."""

    partitions: int
    replicas: int
    settings: Mapping[str, str]
    own: Mapping[str, str]


@dataclass(frozen=True)
class Difference:
    topic: str
    what: str
    has: str
    wanted: str


@dataclass(frozen=True)
class Plan:
    """`unknown` are topics with our prefix that no contract defines: they are reported and left unchanged."""

    topics: Sequence[Topic]
    existing: Mapping[str, ExistingTopic]
    replicas: int
    differences: Sequence[Difference]
    unknown: Sequence[str]


@dataclass(frozen=True)
class TopicChange:
    difference: Difference
    outcome: Outcome
    why: str = ""


def topics_of(events: Sequence[type[Message]] = EVENTS, prefix: str = "", max_partitions: int = 99) -> list[Topic]:
    """Return the topic of each event and its dead-letter topic."""
    topics = []
    for event in events:
        partitions = min(event.partitions, max_partitions)
        topics.append(Topic(prefix + event.topic, partitions, topic_settings(event)))
        topics.append(Topic(f"{prefix}{event.topic}.dlq", 1, retention_settings(DEAD_LETTER_RETENTION)))
    return topics


def topic_settings(event: type[Message]) -> Mapping[str, str]:
    return {"cleanup.policy": "compact"} if event.compacted else retention_settings(event.retention)


def retention_settings(duration: timedelta) -> Mapping[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(duration // timedelta(milliseconds=1))}


async def plan_topics(kafka: KafkaAccess | str, topics: Sequence[Topic], prefix: str) -> Plan:
    """Return the differences between expected and existing topics. Raises KafkaError."""
    async with open_admin_client(kafka) as admin:
        return await _plan(admin, topics, prefix)


async def apply_topics(
    kafka: KafkaAccess | str, topics: Sequence[Topic], prefix: str, *, change_partitions: bool = False
) -> list[TopicChange]:
    """Apply the differences and return what was done with each. Raises KafkaError."""
    async with open_admin_client(kafka) as admin:
        plan = await _plan(admin, topics, prefix)
        done = []
        for difference in plan.differences:
            if why := _refusal(difference, change_partitions=change_partitions):
                done.append(TopicChange(difference, "refused", why))
            else:
                done.append(TopicChange(difference, "created" if difference.what == "missing" else "altered"))
        accepted = [each.difference for each in done if each.outcome != "refused"]
        await _create(admin, _select(accepted, plan, "missing"), plan.replicas)
        await _add_partitions(admin, _select(accepted, plan, "partitions"))
        await _alter_settings(admin, _select(accepted, plan, "cleanup.policy", "retention.ms"), plan.existing)
        if accepted:
            await _wait_until_visible(admin, topics, prefix, accepted)
        return done


async def create_topics(kafka: KafkaAccess | str, topics: Sequence[Topic]) -> None:
    """Create missing topics; existing ones are not changed. Raises KafkaError."""
    async with open_admin_client(kafka) as admin:
        await _create(admin, topics, 1)


async def delete_topics(kafka: KafkaAccess | str, names: Sequence[str]) -> None:
    """Delete these topics; missing ones are ignored. Raises KafkaError."""
    async with open_admin_client(kafka) as admin:
        await admin.delete_topics(list(names))


@asynccontextmanager
async def open_admin_client(kafka: KafkaAccess | str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open a connected admin client. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**client_options(kafka))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _plan(admin: AIOKafkaAdminClient, topics: Sequence[Topic], prefix: str) -> Plan:
    ours = {topic.name for topic in topics}
    described = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
    known = sorted(ours & described.keys())
    settings = await _settings_of(admin, known)
    existing = {
        name: ExistingTopic(
            partitions=len(described[name]),
            replicas=min(len(partition["replicas"]) for partition in described[name]),
            settings={setting: value for setting, (value, _) in settings[name].items()},
            own={setting: value for setting, (value, source) in settings[name].items() if source == SOURCE_TOPIC},
        )
        for name in known
    }
    replicas = min(MAX_REPLICAS, len((await admin.describe_cluster())["brokers"]))
    unknown = sorted(
        name for name in described.keys() - ours if name.startswith(prefix) and not name.startswith("__")
    )
    differences = [found for topic in topics for found in _differences(topic, existing.get(topic.name), replicas)]
    return Plan(topics, existing, replicas, differences, unknown)


async def _wait_until_visible(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], prefix: str, done: Sequence[Difference]
) -> None:
    """Wait until the broker shows the changes; they become visible with a delay. Raises KafkaTimeoutError."""
    try:
        async with asyncio.timeout(VISIBLE_TIMEOUT_S):
            while left := set((await _plan(admin, topics, prefix)).differences) & set(done):
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError as error:
        names = ", ".join(sorted({difference.topic for difference in left}))
        raise KafkaTimeoutError(f"the broker accepted changes of {names} but does not show them") from error


def _differences(topic: Topic, existing: ExistingTopic | None, replicas: int) -> Iterator[Difference]:
    if existing is None:
        yield Difference(topic.name, "missing", "", f"{topic.partitions} partitions")
        return
    if existing.partitions != topic.partitions:
        yield Difference(topic.name, "partitions", str(existing.partitions), str(topic.partitions))
    if existing.replicas < replicas:
        yield Difference(topic.name, "replicas", str(existing.replicas), str(replicas))
    for setting, wanted in topic.settings.items():
        if (has := existing.settings.get(setting, "")) != wanted:
            yield Difference(topic.name, setting, has, wanted)


def _refusal(difference: Difference, *, change_partitions: bool) -> str:
    if difference.what == "replicas":
        return "change replicas with Kafka's kafka-reassign-partitions, at a time of your choice"
    if difference.what != "partitions":
        return ""
    if int(difference.has) > int(difference.wanted):
        return "Kafka cannot remove partitions: use another topic"
    if not change_partitions:
        return (
            "keys would move to other partitions, and an event in flight could be overtaken by a later one of its "
            "key; use --partitions once the consumers have read everything"
        )
    return ""


def _select(differences: Sequence[Difference], plan: Plan, *what: str) -> list[Topic]:
    names = {difference.topic for difference in differences if difference.what in what}
    return [topic for topic in plan.topics if topic.name in names]


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[Topic], replicas: int) -> None:
    if not topics:
        return
    new = [NewTopic(each.name, each.partitions, replicas, topic_configs=dict(each.settings)) for each in topics]
    answer = await admin.create_topics(new)
    for _, code, *_ in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)


async def _add_partitions(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> None:
    if topics:
        await admin.create_partitions({each.name: NewPartitions(each.partitions) for each in topics})


async def _alter_settings(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], existing: Mapping[str, ExistingTopic]
) -> None:
    """Set `settings` and repeat the other settings of the topic: Kafka resets those that a request omits."""
    if not topics:
        return
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, each.name, configs={**existing[each.name].own, **each.settings})
        for each in topics
    ]
    for answer in await admin.alter_configs(resources):
        for code, *_ in answer.resources:
            if code:
                raise for_code(code)


async def _settings_of(
    admin: AIOKafkaAdminClient, names: Sequence[str]
) -> Mapping[str, Mapping[str, tuple[str, int]]]:
    """Return each setting's value and config source, by topic."""
    if not names:
        return {}
    settings: dict[str, dict[str, tuple[str, int]]] = {}
    entries: Sequence[Any]
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, _, _, name, entries in answer.resources:
            if code:
                raise for_code(code)
            settings[name] = {entry[0]: (entry[1] or "", entry[3]) for entry in entries}
    return settings
