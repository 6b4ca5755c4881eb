"""Which topics there should be, what the broker has, and how the one becomes the other; never auto-created."""

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
MOST_REPLICAS = 3
SEEN_WITHIN_S = 10.0
LOOK_EVERY_S = 0.05
OF_THE_TOPIC = 1  # where a setting comes from, as Kafka numbers it: from this very topic

Outcome = Literal["made", "altered", "refused"]


@dataclass(frozen=True)
class Topic:
    """A topic as it should be; `settings` are those that we care about, in Kafka's own names."""

    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Existing:
    """A topic as the broker has it; `own` are all the settings that were made for this very topic."""

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
    """`unknown` are topics under our prefix that no contract names: they are told, and left alone."""

    topics: Sequence[Topic]
    existing: Mapping[str, Existing]
    replicas: int
    differences: Sequence[Difference]
    unknown: Sequence[str]


@dataclass(frozen=True)
class Done:
    difference: Difference
    outcome: Outcome
    why: str = ""


def topics_of(events: Sequence[type[Message]] = EVENTS, prefix: str = "", most_partitions: int = 99) -> list[Topic]:
    """Each event's topic, and for its dead letters another."""
    topics = []
    for event in events:
        partitions = min(event.partitions, most_partitions)
        topics.append(Topic(prefix + event.topic, partitions, topic_settings(event)))
        topics.append(Topic(f"{prefix}{event.topic}.dlq", 1, kept_for(DEAD_LETTER_RETENTION)))
    return topics


def topic_settings(event: type[Message]) -> Mapping[str, str]:
    return {"cleanup.policy": "compact"} if event.compacted else kept_for(event.retention)


def kept_for(duration: timedelta) -> Mapping[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(duration // timedelta(milliseconds=1))}


async def plan_topics(kafka: KafkaAccess | str, topics: Sequence[Topic], prefix: str) -> Plan:
    """What would have to be done. Raises KafkaError."""
    async with admin_of(kafka) as admin:
        return await _plan(admin, topics, prefix)


async def apply_topics(
    kafka: KafkaAccess | str, topics: Sequence[Topic], prefix: str, *, change_partitions: bool = False
) -> list[Done]:
    """Do what is to be done, and say what was; nothing where nothing is to be done. Raises KafkaError."""
    async with admin_of(kafka) as admin:
        plan = await _plan(admin, topics, prefix)
        done = []
        for difference in plan.differences:
            if why := _why_not(difference, change_partitions=change_partitions):
                done.append(Done(difference, "refused", why))
            else:
                done.append(Done(difference, "made" if difference.what == "missing" else "altered"))
        doing = [each.difference for each in done if each.outcome != "refused"]
        await _make(admin, _of(doing, plan, "missing"), plan.replicas)
        await _grow(admin, _of(doing, plan, "partitions"))
        await _set(admin, _of(doing, plan, "cleanup.policy", "retention.ms"), plan.existing)
        if doing:
            await _seen(admin, topics, prefix, doing)
        return done


async def create_topics(kafka: KafkaAccess | str, topics: Sequence[Topic]) -> None:
    """Make those that are not there, and look no further. Raises KafkaError."""
    async with admin_of(kafka) as admin:
        await _make(admin, topics, 1)


async def delete_topics(kafka: KafkaAccess | str, names: Sequence[str]) -> None:
    """Those that are not there do not matter. Raises KafkaError."""
    async with admin_of(kafka) as admin:
        await admin.delete_topics(list(names))


@asynccontextmanager
async def admin_of(kafka: KafkaAccess | str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client. Raises KafkaError."""
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
        name: Existing(
            partitions=len(described[name]),
            replicas=min(len(partition["replicas"]) for partition in described[name]),
            settings={setting: value for setting, (value, _) in settings[name].items()},
            own={setting: value for setting, (value, source) in settings[name].items() if source == OF_THE_TOPIC},
        )
        for name in known
    }
    replicas = min(MOST_REPLICAS, len((await admin.describe_cluster())["brokers"]))
    unknown = sorted(
        name for name in described.keys() - ours if name.startswith(prefix) and not name.startswith("__")
    )
    differences = [found for topic in topics for found in _differences(topic, existing.get(topic.name), replicas)]
    return Plan(topics, existing, replicas, differences, unknown)


async def _seen(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], prefix: str, done: Sequence[Difference]
) -> None:
    """Wait until the broker shows what it was told, which is a moment later. Raises KafkaError."""
    try:
        async with asyncio.timeout(SEEN_WITHIN_S):
            while left := set((await _plan(admin, topics, prefix)).differences) & set(done):
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError as error:
        names = ", ".join(sorted({difference.topic for difference in left}))
        raise KafkaTimeoutError(f"the broker took changes of {names} and does not show them") from error


def _differences(topic: Topic, existing: Existing | None, replicas: int) -> Iterator[Difference]:
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


def _why_not(difference: Difference, *, change_partitions: bool) -> str:
    if difference.what == "replicas":
        return "replicas are moved by Kafka's own kafka-reassign-partitions, at a time of your choice"
    if difference.what != "partitions":
        return ""
    if int(difference.has) > int(difference.wanted):
        return "Kafka takes no partition away: this needs another topic"
    if not change_partitions:
        return (
            "keys would move to other partitions, and what is in flight of a key be overtaken by what comes "
            "after it; with --partitions, once the consumers have read everything"
        )
    return ""


def _of(differences: Sequence[Difference], plan: Plan, *what: str) -> list[Topic]:
    names = {difference.topic for difference in differences if difference.what in what}
    return [topic for topic in plan.topics if topic.name in names]


async def _make(admin: AIOKafkaAdminClient, topics: Sequence[Topic], replicas: int) -> None:
    if not topics:
        return
    new = [NewTopic(each.name, each.partitions, replicas, topic_configs=dict(each.settings)) for each in topics]
    answer = await admin.create_topics(new)
    for _, code, *_ in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)


async def _grow(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> None:
    if topics:
        await admin.create_partitions({each.name: NewPartitions(each.partitions) for each in topics})


async def _set(admin: AIOKafkaAdminClient, topics: Sequence[Topic], existing: Mapping[str, Existing]) -> None:
    """What was set for the topic by others is said again: Kafka forgets what is not named."""
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
    """Per topic: each setting's value, and where it comes from."""
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
