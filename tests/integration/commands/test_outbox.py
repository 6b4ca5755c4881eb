"""`tradefleet outbox`: the status of the services' outboxes, and replaying published events."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from click.testing import Result

from cli.options import BadOption
from cli.outbox import outbox, since_option
from cli.queues import fetch_cluster_id
from shared.chassis.service import RunningService
from shared.chassis.settings import ServiceSettings
from tests.integration.accounts import eventually
from tests.integration.chassis.conftest import Listener, publish, user_registered
from tests.integration.commands.conftest import parse_json, run_command
from tests.pace import patient

ServiceEnv = Callable[[str], dict[str, str]]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Scene:
    """Analytics as a service that publishes and consumes, and an operator's shell."""

    running: RunningService
    listener: Listener
    settings: ServiceSettings
    env: dict[str, str]

    async def run(self, *words: str, **env: str) -> Result:
        named = [words[0], "--service", "analytics", *words[1:]]
        return await asyncio.to_thread(run_command, outbox, *named, env={**self.env, **env})

    async def execute(self, statement: str) -> None:
        async with self.running.database.queue() as connection:
            await connection.execute(statement)

    async def count(self, where: str) -> int:
        async with self.running.database.queue() as connection:
            found: int = await connection.fetchval(f"SELECT count(*) FROM outbox WHERE {where}")
            return found

    async def publish_users(self, *users: int) -> None:
        """Publish one event per user, and wait until each is sent and received."""
        await publish(self.running.database, *(user_registered(user) for user in users))
        await eventually(lambda: self.count("sent_at IS NULL"), lambda left: left == 0)
        await eventually(self.received, lambda received: set(users) <= set(received))

    async def received(self) -> list[int]:
        return [event.user_id for event in self.listener.received]

    async def read_keys(self, number: int) -> list[str]:
        """Read this many messages from the topic and return their keys."""
        async with self.reading() as consumer:
            return [(await consumer.getone()).key.decode() for _ in range(number)]

    async def seqs_until(self, last: int) -> list[int]:
        """Read the topic's sequence numbers up to this one."""
        seqs: list[int] = []
        async with self.reading() as consumer:
            while last not in seqs:
                seqs.append(json.loads((await consumer.getone()).value)["aggregate_seq"])
        return seqs

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AIOKafkaConsumer]:
        topic = f"{self.settings.kafka_topic_prefix}user.registered"
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.settings.kafka_bootstrap, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            async with asyncio.timeout(patient(20)):
                yield consumer
        finally:
            await consumer.stop()


@pytest.fixture
async def scene(service_env: ServiceEnv, any_source: None, tmp_path: Path) -> AsyncIterator[Scene]:
    env = service_env("analytics")
    settings = ServiceSettings.model_validate(
        {**{name.lower(): value for name, value in env.items()}, "service": "analytics"}
    )
    listener = Listener()
    shell = {
        "POSTGRES_ANALYTICS_QUEUE_DSN": env["POSTGRES_QUEUE_DSN"],
        "KAFKA_BOOTSTRAP": env["KAFKA_BOOTSTRAP"],
    }
    with (tmp_path / "log").open("w") as log:  # CliRunner would take printed log lines for the command's output
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))
        async with RunningService(listener.build, settings) as running:
            yield Scene(running, listener, settings, shell)
        structlog.reset_defaults()


async def test_replayed_events_are_sent_again_without_a_second_effect(scene: Scene) -> None:
    await scene.publish_users(1, 2)
    replayed = await scene.run("replay", "--since", "1h", "--json")
    assert replayed.exit_code == 0, replayed.output
    assert parse_json(replayed)["services"] == [{"service": "analytics", "rows": 2, "replays": 1}]
    assert sorted(await scene.read_keys(4)) == ["1", "1", "2", "2"]
    await scene.publish_users(3)
    assert sorted(await scene.received()) == [1, 2, 3]
    again = await scene.run("replay", "--since", "1h")
    assert (again.exit_code, "3 events since" in again.output) == (0, True)


async def test_only_events_published_since_then_are_sent_again(scene: Scene) -> None:
    await scene.publish_users(1, 2)
    await scene.execute("UPDATE outbox SET created_at = now() - interval '3 hours' WHERE user_id = 1")
    replayed = await scene.run("replay", "--since", "2h", "--json")
    assert parse_json(replayed)["services"][0]["rows"] == 1
    assert sorted(await scene.read_keys(3)) == ["1", "2", "2"]


async def test_dead_events_are_not_sent_again(scene: Scene) -> None:
    await scene.publish_users(1)
    await scene.execute("UPDATE outbox SET dead_reason = 'too large', sent_at = NULL")
    replayed = await scene.run("replay", "--since", "1h", "--json")
    assert parse_json(replayed)["services"][0]["rows"] == 0
    assert await scene.count("dead_reason IS NOT NULL AND sent_at IS NULL") == 1


async def test_a_replaced_broker_gets_events_only_after_the_replay(scene: Scene) -> None:
    await scene.publish_users(1)
    await scene.execute("UPDATE event_broker SET cluster_id = 'the-one-before'")
    await publish(scene.running.database, user_registered(2))
    status = await eventually(lambda: scene.run("status", "--json"), lambda done: '"same": false' in done.stdout)
    assert status.exit_code == 1
    assert parse_json(status)["services"][0]["waiting"] == 1
    shown = await scene.run("status")
    assert "another one" in shown.output
    assert "outbox replay --since" in shown.output
    assert await scene.received() == [1]
    assert (await scene.run("replay", "--since", "1h")).exit_code == 0
    await eventually(scene.received, lambda received: received == [1, 2])
    assert sorted(await scene.read_keys(3)) == ["1", "1", "2"]
    status_after = await scene.run("status", "--json")
    assert (status_after.exit_code, parse_json(status_after)["services"][0]["same"]) == (0, True)


async def test_a_key_is_replayed_in_order_while_more_events_are_published(scene: Scene) -> None:
    for seq in range(1, 31):
        await publish(scene.running.database, user_registered(7, seq))
    await eventually(lambda: scene.count("sent_at IS NULL"), lambda left: left == 0)
    replaying = asyncio.create_task(scene.run("replay", "--since", "1h"))
    last = 30
    while not replaying.done():
        last += 1
        await publish(scene.running.database, user_registered(7, last))
    await publish(scene.running.database, user_registered(7, last + 1))
    await eventually(scene.received, lambda received: len(received) == last + 1)
    assert scene.listener.seqs(7) == list(range(1, last + 2))
    seqs = await scene.seqs_until(last + 1)
    again = seqs.index(1, 1)
    assert seqs[again:] == list(range(1, last + 2))


async def test_status_counts_waiting_dead_and_sent_events(scene: Scene) -> None:
    await scene.publish_users(1, 2, 3)
    await scene.execute("UPDATE outbox SET dead_reason = 'too large', sent_at = NULL WHERE user_id = 1")
    await scene.execute("UPDATE event_broker SET cluster_id = 'the-one-before'")
    await eventually(lambda: scene.run("status", "--json"), lambda done: '"same": false' in done.stdout)
    await scene.execute("UPDATE outbox SET sent_at = NULL, created_at = now() - interval '5 min' WHERE user_id = 2")
    (shown,) = parse_json(await scene.run("status", "--json"))["services"]
    assert (shown["waiting"], shown["dead"], shown["sent_last_hour"], shown["replays"]) == (1, 1, 1, 0)
    assert shown["oldest_waiting"].endswith("Z")


async def test_a_replay_to_an_unreachable_broker_is_refused_and_changes_nothing(scene: Scene) -> None:
    await scene.publish_users(1)
    refused = await scene.run("replay", "--since", "1h", KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    assert await scene.count("sent_at IS NULL") == 0
    away = await scene.run("status", "--json", KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert (away.exit_code, parse_json(away)["cluster_id"], parse_json(away)["services"][0]["same"]) == (
        1,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("45m", timedelta(minutes=45)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("2026-03-01T10:00:00Z", timedelta(hours=2)),
        ("2026-03-01T05:00:00-05:00", timedelta(hours=2)),
        ("2026-03-01T12:00:00Z", timedelta(0)),
    ],
)
def test_since_is_a_time_or_an_age(text: str, ago: timedelta) -> None:
    assert since_option(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-03-01T10:00:00", "offset"),
        ("2026-03-01", "offset"),
        ("2026-03-01T12:00:01Z", "in the future"),
        ("31d", "30 days"),
        ("999999d", "30 days"),
        ("2026-01-29T00:00:00Z", "30 days"),
        ("yesterday", "an age"),
        ("-2h", "an age"),
        ("", "an age"),
        ("٢h", "an age"),
        ("2026-02-30T00:00:00Z", "exists"),
    ],
)
def test_any_other_since_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadOption, match=why):
        since_option(text, NOW)


def test_a_naive_time_is_one_line_and_exit_code_2() -> None:
    done = run_command(outbox, "replay", "--since", "2026-03-01T10:00:00")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


async def test_the_cluster_id_is_stable(kafka_bootstrap: str) -> None:
    assert await fetch_cluster_id(kafka_bootstrap) == await fetch_cluster_id(kafka_bootstrap) != ""
