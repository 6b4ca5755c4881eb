"""`tradefleet topics`, on a real broker."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from click.testing import Result

from cli.topics import NO_AUTHORIZER, topics
from stack.topics import (
    Topic,
    apply_topics,
    create_topics,
    delete_topics,
    open_admin_client,
    plan_topics,
    topics_of,
)
from tests.integration.accounts import eventually
from tests.integration.commands.conftest import parse_json, run_command

DAY_MS = 24 * 3600 * 1000


class Broker:
    """The shared broker, of which one prefix belongs to this test."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix

    def run(self, *words: str) -> Result:
        return run_command(topics, *words, "--bootstrap", self.bootstrap, "--prefix", self.prefix)

    def make(self, *topics_to_create: Topic) -> None:
        asyncio.run(self._make(topics_to_create))

    async def _make(self, topics_to_create: Sequence[Topic]) -> None:
        await create_topics(self.bootstrap, topics_to_create)
        names = {topic.name for topic in topics_to_create}
        await eventually(self._names, lambda existing: names <= existing)

    async def _names(self) -> set[str]:
        plan = await plan_topics(self.bootstrap, topics_of(prefix=self.prefix), self.prefix)
        return {*plan.existing, *plan.unknown}

    def differences(self) -> set[tuple[str, str, str, str]]:
        found = parse_json(self.run("plan", "--json"))["differences"]
        return {
            (each["topic"].removeprefix(self.prefix), each["what"], each["has"], each["wanted"]) for each in found
        }

    def set(self, topic: str, **settings: str) -> None:
        """Change settings as an operator would by hand, and wait until Kafka shows them."""
        named = {name.replace("_", "."): value for name, value in settings.items()}
        asyncio.run(self._set(self.prefix + topic, named))

    async def _set(self, topic: str, settings: dict[str, str]) -> None:
        async with open_admin_client(self.bootstrap) as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)])
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
def applied_broker(broker: Broker) -> Broker:
    """Create the topics of the contracts, with one partition each."""
    few = topics_of(prefix=broker.prefix, max_partitions=1)
    asyncio.run(apply_topics(broker.bootstrap, few, broker.prefix))
    return broker


def test_one_apply_creates_every_topic_on_an_empty_broker(broker: Broker) -> None:
    assert len(broker.differences()) == len(topics_of())
    assert broker.run("apply").exit_code == 0
    planned = broker.run("plan")
    nothing = f"nothing to do\n{NO_AUTHORIZER}\n"
    assert (planned.exit_code, planned.output) == (0, f"{len(topics_of())} topics, {nothing}")
    again = broker.run("apply")
    assert (again.exit_code, again.output) == (0, nothing)


def test_a_plan_with_differences_exits_with_1_and_changes_nothing(broker: Broker) -> None:
    assert broker.run("plan").exit_code == 1
    assert len(broker.differences()) == len(topics_of())


def test_a_changed_retention_is_shown_and_reset_and_other_settings_stay(applied_broker: Broker) -> None:
    applied_broker.set("candle.closed", cleanup_policy="delete", retention_ms="60000", max_message_bytes="4000000")
    assert ("candle.closed", "retention.ms", "60000", str(2 * DAY_MS)) in applied_broker.differences()
    applied_broker.run("apply")
    assert applied_broker.own("candle.closed") == {
        "cleanup.policy": "delete",
        "retention.ms": str(2 * DAY_MS),
        "max.message.bytes": "4000000",
    }


def test_apply_makes_a_topic_compacted_again(applied_broker: Broker) -> None:
    applied_broker.set("user.registered", cleanup_policy="delete")
    assert ("user.registered", "cleanup.policy", "delete", "compact") in applied_broker.differences()
    applied_broker.run("apply")
    assert applied_broker.own("user.registered") == {"cleanup.policy": "compact"}


def test_partitions_are_changed_only_on_request_and_a_refusal_has_a_reason(applied_broker: Broker) -> None:
    refused = applied_broker.run("apply")
    assert refused.exit_code == 1
    assert "keys would move" in refused.output
    assert ("trade.closed", "partitions", "1", "12") in applied_broker.differences()
    changed = applied_broker.run("apply", "--partitions", "--json")
    assert changed.exit_code == 0
    assert {each["outcome"] for each in parse_json(changed)["done"]} == {"altered"}
    assert applied_broker.differences() == set()


def test_surplus_partitions_are_never_removed(broker: Broker) -> None:
    broker.make(Topic(f"{broker.prefix}market.interest", 3, {"cleanup.policy": "compact"}))
    result = broker.run("apply", "--partitions")
    assert result.exit_code == 1
    assert "cannot remove partitions" in result.output
    assert broker.differences() == {("market.interest", "partitions", "3", "1")}


def test_an_unknown_topic_is_listed_and_left_alone(applied_broker: Broker) -> None:
    applied_broker.make(Topic(f"{applied_broker.prefix}nobodys", 1, {}))
    applied_broker.run("apply", "--partitions")
    shown = parse_json(applied_broker.run("plan", "--json"))
    assert (shown["differences"], shown["unknown"]) == ([], [f"{applied_broker.prefix}nobodys"])


@pytest.mark.parametrize("words", [["plan"], ["apply"]])
def test_an_unreachable_broker_is_one_line_and_exit_code_2(words: list[str]) -> None:
    result = run_command(topics, *words, "--bootstrap", "127.0.0.1:1")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


def test_without_a_broker_it_says_how_to_configure_one(nowhere: Path) -> None:
    result = run_command(topics, "plan", env={"KAFKA_BOOTSTRAP": ""})
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "KAFKA_BOOTSTRAP" in result.stderr
