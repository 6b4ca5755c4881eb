"""Kafka's log is lost: the runbook's recovery, on a whole platform."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from aiokafka import AIOKafkaConsumer

from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.handlers import partitions_of
from stack.home import read_state
from tests.integration.stack.test_stack import status, tradefleet
from tests.pace import patient

pytestmark = pytest.mark.timeout(300)

ANN = {"email": "ann@example.org", "password": "correct horse battery"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # as root, Postgres runs as another user
    yield tmp_path / "stack"
    tradefleet("down", "--home", str(tmp_path / "stack"))


def test_after_the_replay_all_services_are_ready_and_the_topics_are_refilled(home: Path) -> None:
    at = ("--home", str(home))
    assert tradefleet("up", "--detach", *at, "--port", "18099").returncode == 0
    body = json.dumps(ANN).encode()
    request = Request(
        f"{status(home)['gateway']}/v1/auth/register", data=body, headers={"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=10) as answer:
        assert answer.status == 201
    until(lambda: all_sent(home, "auth", "billing"))
    tradefleet("down", *at)
    shutil.rmtree(home / "kafka" / "data")

    started = tradefleet("up", "--detach", *at)
    assert started.returncode == 0, started.stderr
    assert "auth is waiting: the broker has changed" in started.stdout
    assert unhealthy(home) == {"auth", "billing", "trading", "analytics", "notifications"}
    assert tradefleet("outbox", "status", *at).returncode == 1

    replayed = json.loads(tradefleet("outbox", "replay", "--since", "1h", "--json", *at).stdout)
    assert {each["service"]: each["rows"] for each in replayed["services"]} == {
        "auth": 2,
        "billing": 1,
        "trading": 0,
        "analytics": 0,
        "notifications": 0,
    }
    until(lambda: not unhealthy(home))
    until(lambda: all_sent(home, "auth", "billing"))
    state = read_state(home)
    assert state is not None
    assert asyncio.run(count_messages(state.kafka_access, "user.registered", "subscription.changed")) == [1, 1]
    assert tradefleet("dlq", "list", *at).stdout == "no failed events\n"
    assert tradefleet("topics", "plan", *at).returncode == 0


def unhealthy(home: Path) -> set[str]:
    return {process["name"] for process in status(home)["processes"] if not process["healthy"]}


def all_sent(home: Path, *services: str) -> bool:
    """Return whether these services have sent all their events to the current broker."""
    outboxes = json.loads(tradefleet("outbox", "status", "--json", "--home", str(home)).stdout)["services"]
    return all(
        each["same"] and not each["waiting"] and each["sent_last_hour"]
        for each in outboxes
        if each["service"] in services
    )


async def count_messages(kafka: KafkaAccess, *topics: str) -> list[int]:
    """Return how many messages each topic holds."""
    consumer = AIOKafkaConsumer(**client_options(kafka))
    await consumer.start()
    try:
        ends = await consumer.end_offsets(await partitions_of(kafka, topics))
    finally:
        await consumer.stop()
    return [sum(end for partition, end in ends.items() if partition.topic == topic) for topic in topics]


def until(holds: Callable[[], bool], within_s: float = 30) -> None:
    deadline = time.monotonic() + patient(within_s)
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.1)
