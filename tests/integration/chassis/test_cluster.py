"""A broker that is not the known one gets no events, and is read from its start after a replay."""

from collections.abc import AsyncIterator

import pytest

from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Producer
from shared.chassis.events.relay import Relay
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.chassis.settings import ServiceSettings
from tests.integration.accounts import eventually
from tests.integration.chassis.conftest import Listener, publish, user_registered


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Database]:
    database = await Database.connect(settings)
    yield database
    await database.close()


async def execute(database: Database, statement: str) -> None:
    async with database.queue() as connection:
        await connection.execute(statement)


async def count_unsent(database: Database) -> int:
    async with database.queue() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"))


async def test_the_first_cluster_is_trusted_and_another_is_reported(database: Database) -> None:
    cluster = KnownCluster(database)
    assert (await cluster.compare("one")).cluster_id == "one"
    assert cluster.fault == ""
    assert (await cluster.compare("two")).cluster_id == "one"
    assert "cluster two, was one" in cluster.fault
    await cluster.compare("one")
    assert cluster.fault == ""


async def test_a_late_failure_discards_its_own_producer_and_not_the_current_one(settings: ServiceSettings) -> None:
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    await producer.connect()
    failed = producer._producer
    await producer.discard()
    await producer.connect()
    current = producer._producer
    await producer._discard(failed)
    assert producer._producer is current is not failed
    await producer.stop()


async def test_a_relay_sends_nothing_to_another_broker_until_it_is_accepted(
    settings: ServiceSettings, database: Database
) -> None:
    cluster = KnownCluster(database)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    await execute(database, "INSERT INTO event_broker (cluster_id) VALUES ('an older one')")
    event = user_registered(1)
    async with database.tenant(1) as connection:
        await emit(connection, event)
    relay = Relay(database, producer, cluster)
    assert await relay.send_waiting() == 0
    assert cluster.fault
    assert await count_unsent(database) == 1
    await execute(database, f"UPDATE event_broker SET cluster_id = '{await producer.connect()}'")
    assert await relay.send_waiting() == 1
    assert not cluster.fault
    await producer.stop()


async def test_after_a_replay_everything_is_read_again_and_handled_once(
    settings: ServiceSettings, listener: Listener
) -> None:
    async with RunningService(listener.build, settings) as running:
        await publish(running.database, *(user_registered(1, seq) for seq in range(1, 11)))
        await eventually(lambda: _count_received(listener), lambda received: received == 10)
        await execute(running.database, "UPDATE event_broker SET replays = replays + 1")
        await execute(running.database, "UPDATE outbox SET sent_at = NULL")
        await publish(running.database, user_registered(1, 11))
        await eventually(lambda: _count_received(listener), lambda received: received >= 11)
        await eventually(lambda: _count_marked(running.database), lambda marked: marked > 0)
    assert listener.seqs(1) == list(range(1, 12))


async def _count_received(listener: Listener) -> int:
    return len(listener.received)


async def _count_marked(database: Database) -> int:
    async with database.queue() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM read_positions WHERE replays = 1"))
