"""The life of a platform beside another: one of its services dies, its supervisor is killed, Kafka's log is lost
(the runbook's recovery), it is stopped.

The stages are fixtures, each on the one before. A broker that crashes and keeps its log is in the fault runs.
"""

import asyncio
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import Result

from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.handlers import partitions_of
from stack.home import State, read_state
from tests.integration.stack.commands import (
    alive,
    fetch,
    status,
    tradefleet,
    unhealthy,
    until,
    until_answers,
    wait_until_gone,
)
from tests.integration.stack.conftest import Platforms

pytestmark = pytest.mark.timeout(300)

ANN = {"email": "ann@example.org", "password": "correct horse battery"}


@dataclass(frozen=True)
class Stage:
    """The doomed platform: its home, and its last state before this stage."""

    home: Path
    before: State

    @property
    def at(self) -> tuple[str, str]:
        return ("--home", str(self.home))


@pytest.fixture(scope="module")
def running(platforms: Platforms) -> Stage:
    return Stage(platforms.doomed, _state_of(platforms.doomed))


@pytest.fixture(scope="module")
def killed(running: Stage) -> Stage:
    """Register a tenant, wait until every event has been sent, and kill the supervisor."""
    assert fetch(f"{running.before.gateway}/v1/auth/register", ANN)[0] == 201
    until(lambda: _all_sent(running.home, "auth", "billing"))
    state = _state_of(running.home)
    os.kill(state.supervisor.pid, signal.SIGKILL)
    wait_until_gone([process.pid for process in state.processes])
    return Stage(running.home, state)


@dataclass(frozen=True)
class Restarted(Stage):
    started: Result


@pytest.fixture(scope="module")
def restarted(killed: Stage) -> Restarted:
    """Delete Kafka's log and start again, on the same port."""
    shutil.rmtree(killed.home / "kafka" / "data")
    port = killed.before.gateway.rpartition(":")[2]
    started = tradefleet("up", "--detach", *killed.at, "--port", port)
    return Restarted(killed.home, killed.before, started)


def test_two_platforms_that_started_at_once_share_no_address(running: Stage, shared: Path) -> None:
    one, other = status(running.home), status(shared)
    for key in ("gateway", "postgres", "kafka"):
        assert one[key] != other[key]
    assert not {*one["services"].values()} & {*other["services"].values()}


def test_a_killed_service_gives_a_problem_and_is_brought_back(running: Stage) -> None:
    gateway = running.before.gateway
    os.kill(_pid_of(running.before, "billing"), signal.SIGKILL)
    assert json.loads(until_answers(gateway + "/v1/plans", 502))["status"] == 502
    until_answers(gateway + "/readyz", 200)
    until(lambda: not unhealthy(running.home))
    assert fetch(gateway + "/v1/plans")[0] == 200


def test_a_killed_platform_leaves_nothing_and_does_not_disturb_the_other(killed: Stage, shared: Path) -> None:
    assert tradefleet("status", *killed.at).exit_code == 1
    assert unhealthy(shared) == set()
    assert fetch(status(shared)["gateway"] + "/v1/plans")[0] == 200


def test_without_its_topics_it_starts_and_waits_for_the_operator(restarted: Restarted) -> None:
    assert restarted.started.exit_code == 0, restarted.started.output
    assert "auth is waiting: the broker has changed" in restarted.started.stdout
    assert unhealthy(restarted.home) == {"auth", "billing", "trading", "analytics", "notifications"}
    assert tradefleet("outbox", "status", *restarted.at).exit_code == 1


def test_after_the_replay_all_services_are_ready_and_the_topics_are_refilled(restarted: Restarted) -> None:
    at = restarted.at
    replayed = json.loads(tradefleet("outbox", "replay", "--since", "1h", "--json", *at).stdout)
    assert {each["service"]: each["rows"] for each in replayed["services"]} == {
        "auth": 2,
        "billing": 1,
        "trading": 0,
        "analytics": 0,
        "notifications": 0,
    }
    until(lambda: not unhealthy(restarted.home))
    until(lambda: _all_sent(restarted.home, "auth", "billing"))
    kafka = _state_of(restarted.home).kafka_access
    assert asyncio.run(_count_messages(kafka, "user.registered", "subscription.changed")) == [1, 1]
    assert tradefleet("dlq", "list", *at).stdout == "no failed events\n"
    assert tradefleet("topics", "plan", *at).exit_code == 0


def test_down_leaves_no_process(restarted: Restarted) -> None:
    pids = [process.pid for process in _state_of(restarted.home).processes]
    assert len(alive(pids)) == len(pids)
    assert tradefleet("down", *restarted.at).exit_code == 0
    wait_until_gone(pids)
    assert tradefleet("status", *restarted.at).exit_code == 1


def _state_of(home: Path) -> State:
    state = read_state(home)
    assert state is not None
    return state


def _pid_of(state: State, name: str) -> int:
    return next(process.pid for process in state.processes if process.name == name)


def _all_sent(home: Path, *services: str) -> bool:
    """Return whether these services have sent all their events to the current broker."""
    outboxes = json.loads(tradefleet("outbox", "status", "--json", "--home", str(home)).stdout)["services"]
    return all(
        each["same"] and not each["waiting"] and each["sent_last_hour"]
        for each in outboxes
        if each["service"] in services
    )


async def _count_messages(kafka: KafkaAccess, *topics: str) -> list[int]:
    """Return how many messages each topic holds."""
    consumer = AIOKafkaConsumer(**client_options(kafka))
    await consumer.start()
    try:
        ends = await consumer.end_offsets(await partitions_of(kafka, topics))
    finally:
        await consumer.stop()
    return [sum(end for partition, end in ends.items() if partition.topic == topic) for topic in topics]
