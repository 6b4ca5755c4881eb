"""A broker that dies, hangs or loses everything: published events are consumed once and in order when it is
back."""

import asyncio
import signal
import time

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.partitioner import murmur2
from click.testing import CliRunner

from cli.outbox import outbox
from shared.chassis.events.aiokafka_api import producer_id_of
from shared.chassis.events.outbox import bucket_of
from stack.topics import create_topics, topics_of
from tests.faults.conftest import CONSUMED
from tests.faults.scene import UNSENT, Scene, some_trades
from tests.faults.servers import OwnServers
from tests.integration.accounts import eventually
from tests.pace import patient
from tests.topic_sets import TEST_PARTITIONS

BROKER_BACK_S, POSTGRES_BACK_S, SEND_BOUND_S = (patient(seconds) for seconds in (15, 5, 15))


async def test_a_broker_killed_in_mid_stream_loses_and_duplicates_nothing(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await relay.ready()
    relay.arm("relay.after_ack STOP 3")
    await own_scene.publish(events := some_trades(200))
    await relay.wait_until_struck()
    own_servers.kafka.kill()
    relay.send(signal.SIGCONT)
    own_servers.kafka.start()
    back_at = time.monotonic()
    await consumer.ready()
    await relay.ready()
    assert time.monotonic() - back_at < BROKER_BACK_S
    await own_scene.assert_settled(events, within_s=30)


async def test_waiting_for_a_hanging_broker_is_bounded_and_keeps_the_order(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    relay = own_scene.spawn("relay")
    await own_scene.start("consumers")
    await own_scene.publish(before := some_trades(20))
    await own_scene.assert_settled(before)
    own_servers.kafka.send(signal.SIGSTOP)
    retrying = asyncio.create_task(relay.logs("relay_retries", SEND_BOUND_S))
    await asyncio.sleep(0)
    await own_scene.publish(during := some_trades(50, after=20))
    await retrying
    own_servers.kafka.send(signal.SIGCONT)
    await own_scene.publish(after := some_trades(20, after=70))
    await own_scene.assert_settled([*before, *during, *after], within_s=40)


async def published_ids(scene: Scene) -> set[str]:
    return {str(row[0]) for row in await scene.sql("SELECT event_id FROM outbox")}


def record_id(record: ConsumerRecord) -> str:
    return str(dict(record.headers)["ce_id"], "ascii")


async def test_an_emptied_broker_gets_nothing_before_the_replay_and_then_everything(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await own_scene.publish(before := some_trades(60))
    await own_scene.assert_settled(before)
    await empty(own_scene, own_servers)
    await own_scene.publish(after := some_trades(20, after=60))
    for member in (relay, consumer):
        await eventually(member.faults, lambda faults: "the broker has changed" in str(faults), 30)
    await asyncio.to_thread(replay, own_scene)
    await eventually(lambda: own_scene.number(UNSENT), lambda waiting: waiting == 0)
    await own_scene.assert_settled([*before, *after])
    assert {record_id(each) for each in await own_scene.read_topic()} == await published_ids(own_scene)
    await own_scene.publish(later := some_trades(20, after=80))
    await own_scene.assert_settled([*before, *after, *later])
    for member in (relay, consumer):
        await member.ready()


async def test_a_reused_producer_id_hides_no_event_from_the_emptied_broker(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    """The emptied broker assigns producer ids from the start again.

    A message of a producer with an old id looks to the broker like the first one of the new producer with that id,
    whose message it would then acknowledge and discard as a duplicate.
    """
    earlier, hidden, other = keys_that_collide()
    for _ in range(5):
        await next_producer_id(own_scene.bootstrap)
    await own_scene.publish([some_trades(earlier, earlier)[-1]])
    await own_scene.sql("UPDATE outbox SET sent_at = now()")  # as if an earlier relay had sent it
    relay = await own_scene.start("relay")
    await own_scene.publish([some_trades(other, other)[-1]])
    await eventually(lambda: own_scene.number(UNSENT), lambda waiting: waiting == 0)
    used = await next_producer_id(own_scene.bootstrap) - 1
    own_servers.kafka.kill()
    await own_scene.publish([some_trades(hidden, hidden)[-1]])
    own_servers.kafka.empty()
    own_servers.kafka.start()
    while await next_producer_id(own_scene.bootstrap) < used - 1:
        pass
    await create_topics(own_scene.bootstrap, topics_of(CONSUMED, own_scene.prefix, TEST_PARTITIONS))
    await eventually(relay.faults, lambda faults: "the broker has changed" in str(faults), 30)
    await asyncio.to_thread(replay, own_scene)
    await eventually(lambda: own_scene.number(UNSENT), lambda waiting: waiting == 0)
    assert {record_id(each) for each in await own_scene.read_topic()} == await published_ids(own_scene)


async def next_producer_id(bootstrap: str) -> int:
    """Return the next producer id; the broker assigns them in sequence."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    producer_id = producer_id_of(producer)
    await producer.stop()
    return producer_id


def keys_that_collide() -> tuple[int, int, int]:
    """Return two users of one partition, in the order in which the relay sends them, and one of the other
    partition."""
    of_partition: dict[int, list[int]] = {}
    for user_id in range(1, 50):
        key = str(user_id)
        of_partition.setdefault((murmur2(key.encode()) & 0x7FFFFFFF) % TEST_PARTITIONS, []).append(user_id)
    one, another = of_partition.values()
    one.sort(key=lambda user_id: bucket_of(str(user_id)))
    assert bucket_of(str(one[0])) < bucket_of(str(one[-1]))
    return one[0], one[-1], another[0]


async def empty(scene: Scene, servers: OwnServers) -> None:
    servers.kafka.kill()
    servers.kafka.empty()
    servers.kafka.start()
    await create_topics(scene.bootstrap, topics_of(CONSUMED, scene.prefix, TEST_PARTITIONS))


def replay(scene: Scene) -> None:
    """Replay as an operator does."""
    environment = {
        "KAFKA_BOOTSTRAP": scene.bootstrap,
        "POSTGRES_ANALYTICS_QUEUE_DSN": scene.environment["POSTGRES_QUEUE_DSN"],
    }
    command = ["replay", "--since", "1h", "--service", "analytics"]
    result = CliRunner(env=environment).invoke(outbox, command)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("first", ["broker", "database"])
async def test_it_starts_without_servers_and_works_as_soon_as_both_are_up(
    own_scene: Scene, own_servers: OwnServers, first: str
) -> None:
    kafka, postgres = own_servers.kafka, own_servers.postgres
    kafka.kill()
    postgres.stop_at_once()
    member = own_scene.spawn("consumers,relay")
    await eventually(member.faults, lambda faults: "the database does not answer" in faults)
    if first == "broker":
        kafka.start()
        postgres.start()
        await postgres.answers()
    else:
        postgres.start()
        await postgres.answers()
        await eventually(member.faults, lambda faults: faults == ["the broker does not answer"], POSTGRES_BACK_S)
        kafka.start()
    await member.ready(POSTGRES_BACK_S if first == "broker" else BROKER_BACK_S)
    await own_scene.publish(events := some_trades(20))
    await own_scene.assert_settled(events)
