"""`tradefleet topics`, on a real broker."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from click.testing import Result

from cli.topics import NO_AUTHORIZER, topics
from stack.topics import Topic, apply_topics, create_topics, delete_topics, plan_topics, topics_of
from tests.integration.accounts import eventually
from tests.integration.commands.conftest import told, typed

DAY_MS = 24 * 3600 * 1000


class Broker:
    """A shared broker, of which one prefix is ours."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix

    def type(self, *words: str) -> Result:
        return typed(topics, *words, "--bootstrap", self.bootstrap, "--prefix", self.prefix)

    def make(self, *made: Topic) -> None:
        asyncio.run(self._make(made))

    async def _make(self, made: Sequence[Topic]) -> None:
        await create_topics(self.bootstrap, made)
        names = {topic.name for topic in made}
        await eventually(self._names, lambda seen: names <= seen)

    async def _names(self) -> set[str]:
        plan = await plan_topics(self.bootstrap, topics_of(prefix=self.prefix), self.prefix)
        return {*plan.existing, *plan.unknown}

    def differences(self) -> set[tuple[str, str, str, str]]:
        found = told(self.type("plan", "--json"))["differences"]
        return {
            (each["topic"].removeprefix(self.prefix), each["what"], each["has"], each["wanted"]) for each in found
        }

    def set(self, topic: str, **settings: str) -> None:
        """As somebody does by hand; Kafka takes it, and shows it a moment later."""
        named = {name.replace("_", "."): value for name, value in settings.items()}
        asyncio.run(self._set(self.prefix + topic, named))

    async def _set(self, topic: str, settings: dict[str, str]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)])
        finally:
            await admin.close()
        await eventually(lambda: self._own(topic), lambda own: own == settings)

    async def _own(self, topic: str) -> dict[str, str]:
        plan = await plan_topics(self.bootstrap, topics_of(prefix=self.prefix), self.prefix)
        return dict(plan.existing[topic].own)

    def own(self, topic: str) -> dict[str, str]:
        return asyncio.run(self._own(self.prefix + topic))


@pytest.fixture
def broker(kafka_bootstrap: str) -> Iterator[Broker]:
    prefix = f"c{uuid4().hex[:10]}."
    yield Broker(kafka_bootstrap, prefix)
    names = [topic.name for topic in topics_of(prefix=prefix)]
    asyncio.run(delete_topics(kafka_bootstrap, [*names, f"{prefix}nobodys"]))


@pytest.fixture
def made(broker: Broker) -> Broker:
    """As the contracts want it, but with few partitions."""
    few = topics_of(prefix=broker.prefix, max_partitions=1)
    asyncio.run(apply_topics(broker.bootstrap, few, broker.prefix))
    return broker


def test_an_empty_broker_lacks_every_topic_and_has_them_after_one_apply(broker: Broker) -> None:
    assert len(broker.differences()) == len(topics_of())
    assert broker.type("apply").exit_code == 0
    planned = broker.type("plan")
    nothing = f"nothing to do\n{NO_AUTHORIZER}\n"
    assert (planned.exit_code, planned.output) == (0, f"{len(topics_of())} topics, {nothing}")
    again = broker.type("apply")
    assert (again.exit_code, again.output) == (0, nothing)


def test_a_plan_with_differences_exits_with_one_and_changes_nothing(broker: Broker) -> None:
    assert broker.type("plan").exit_code == 1
    assert len(broker.differences()) == len(topics_of())


def test_a_changed_retention_is_shown_and_put_right_and_other_settings_stay(made: Broker) -> None:
    made.set("candle.closed", cleanup_policy="delete", retention_ms="60000", max_message_bytes="4000000")
    assert ("candle.closed", "retention.ms", "60000", str(2 * DAY_MS)) in made.differences()
    made.type("apply")
    assert made.own("candle.closed") == {
        "cleanup.policy": "delete",
        "retention.ms": str(2 * DAY_MS),
        "max.message.bytes": "4000000",
    }


def test_a_topic_that_must_be_compacted_is_made_so(made: Broker) -> None:
    made.set("user.registered", cleanup_policy="delete")
    assert ("user.registered", "cleanup.policy", "delete", "compact") in made.differences()
    made.type("apply")
    assert made.own("user.registered") == {"cleanup.policy": "compact"}


def test_partitions_are_changed_only_when_told_to_and_the_reason_is_said(made: Broker) -> None:
    refused = made.type("apply")
    assert refused.exit_code == 1
    assert "keys would move" in refused.output
    assert ("trade.closed", "partitions", "1", "12") in made.differences()
    changed = made.type("apply", "--partitions", "--json")
    assert changed.exit_code == 0
    assert {each["outcome"] for each in told(changed)["done"]} == {"altered"}
    assert made.differences() == set()


def test_too_many_partitions_are_never_taken_away(broker: Broker) -> None:
    broker.make(Topic(f"{broker.prefix}market.interest", 3, {"cleanup.policy": "compact"}))
    applied = broker.type("apply", "--partitions")
    assert applied.exit_code == 1
    assert "cannot remove partitions" in applied.output
    assert broker.differences() == {("market.interest", "partitions", "3", "1")}


def test_a_topic_of_no_contract_is_told_and_left_alone(made: Broker) -> None:
    made.make(Topic(f"{made.prefix}nobodys", 1, {}))
    made.type("apply", "--partitions")
    shown = told(made.type("plan", "--json"))
    assert (shown["differences"], shown["unknown"]) == ([], [f"{made.prefix}nobodys"])


@pytest.mark.parametrize("words", [["plan"], ["apply"]])
def test_a_broker_that_is_away_is_one_line_and_two(words: list[str]) -> None:
    result = typed(topics, *words, "--bootstrap", "127.0.0.1:1")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


def test_without_a_broker_it_says_how_to_name_one(nowhere: Path) -> None:
    result = typed(topics, "plan", env={"KAFKA_BOOTSTRAP": ""})
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "KAFKA_BOOTSTRAP" in result.stderr
