"""Outbox, relay, inbox, parking and dead letters, on the real database and broker."""

import asyncio

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from shared.chassis.clock import utc_now
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.headers import headers_of
from shared.chassis.events.outbox import OutboxRow, insert_outgoing
from shared.chassis.events.producer import Outgoing, Producer
from shared.chassis.events.relay import MAX_PAYLOAD_BYTES, Relay
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from tests.integration.accounts import eventually
from tests.integration.chassis.conftest import Listener, publish, user_registered
from tests.pace import patient


async def count(database: Database, what: str) -> int:
    async with database.queue() as connection:
        found: int = await connection.fetchval(f"SELECT count(*) FROM {what}")
        return found


async def locate_user(database: Database, public_id: object) -> object:
    async with database.untenanted() as connection:
        return await connection.fetchval("SELECT locate_user($1)", public_id)


def message(event: object, key: str, body: bytes | None = None, event_id: str | None = None) -> Outgoing:
    known = user_registered(1)
    headers = headers_of(known, event_id or str(new_id()), "auth", utc_now())
    return Outgoing("user.registered", key, headers, body or known.model_dump_json().encode())


async def test_events_are_received_once_and_in_order(settings: ServiceSettings, listener: Listener) -> None:
    async with RunningService(listener.build, settings) as running:
        await publish(running.database, *(user_registered(user, seq) for seq in range(1, 21) for user in (1, 2)))
        await eventually(lambda: _count_received(listener), lambda length: length >= 40)
        assert listener.seqs(1) == listener.seqs(2) == list(range(1, 21))


async def _count_received(listener: Listener) -> int:
    return len(listener.received)


async def test_a_failed_transaction_publishes_nothing(settings: ServiceSettings) -> None:
    database = await Database.connect(settings)
    with pytest.raises(ValueError, match="changed my mind"):
        await _publish_and_fail(database)
    assert await count(database, "outbox") == 0
    await database.close()


async def _publish_and_fail(database: Database) -> None:
    async with database.tenant(1) as connection:
        await insert_outgoing(connection, [_row(1)])
        raise ValueError("changed my mind")


def _row(user_id: int, payload: bytes = b"{}") -> OutboxRow:
    event_id = str(new_id())
    return OutboxRow(user_id, "user.registered", str(user_id), event_id, {"ce_id": event_id}, payload)


async def test_the_same_event_a_hundred_times_has_one_effect(settings: ServiceSettings, listener: Listener) -> None:
    event, event_id = user_registered(5), str(new_id())
    body = event.model_dump_json().encode()
    async with RunningService(listener.build, settings) as running:
        await running.producer.send([message(event, "5", body, event_id) for _ in range(100)])
        await publish(running.database, user_registered(6))
        await eventually(lambda: _has_received(running, 6, listener), bool)
        assert listener.seqs(5) == [1]


async def _has_received(running: RunningService, user_id: int, listener: Listener) -> bool:
    return user_id in {event.user_id for event in listener.received} and 5 in {e.user_id for e in listener.received}


async def test_offsets_that_the_broker_did_not_take_are_committed_without_another_event(
    settings: ServiceSettings, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, refusals, committed = AIOKafkaConsumer.commit, [KafkaTimeoutError()], set[int]()

    async def refuse_first(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        if refusals:
            raise refusals.pop()
        await commit(consumer, offsets)
        committed.update(offsets.values())

    async def read_committed() -> set[int]:
        return committed

    monkeypatch.setattr(AIOKafkaConsumer, "commit", refuse_first)
    async with RunningService(listener.build, settings) as running:
        await publish(running.database, user_registered(8))
        await eventually(lambda: _count_received(listener), lambda received: received == 1)
        await eventually(read_committed, bool)


async def test_the_same_id_with_another_body_changes_nothing(settings: ServiceSettings, listener: Listener) -> None:
    event_id = str(new_id())
    first, second = user_registered(7), user_registered(7, seq=2)
    async with RunningService(listener.build, settings) as running:
        for event in (first, second):
            await running.producer.send([message(event, "7", event.model_dump_json().encode(), event_id)])
        await publish(running.database, user_registered(7, seq=3))
        await eventually(lambda: _count_received(listener), lambda length: length >= 2)
        assert listener.seqs(7) == [1, 3]


async def test_a_failing_key_is_parked_and_the_others_continue(
    settings: ServiceSettings, listener: Listener
) -> None:
    listener.failing = {3}
    async with RunningService(listener.build, settings) as running:
        await publish(
            running.database,
            user_registered(3, 1),
            user_registered(4, 1),
            user_registered(3, 2),
            user_registered(4, 2),
        )
        await eventually(lambda: count(running.database, "parked"), lambda parked: parked == 2)
        await eventually(lambda: _count_received(listener), lambda length: length >= 2)
        assert (listener.seqs(3), listener.seqs(4)) == ([], [1, 2])
        listener.failing = set()
        await eventually(lambda: count(running.database, "parked"), lambda parked: parked == 0)
        assert listener.seqs(3) == [1, 2]


async def test_events_parked_behind_a_head_follow_it_at_once(settings: ServiceSettings, listener: Listener) -> None:
    listener.failing = {3}
    async with RunningService(listener.build, settings) as running:
        await publish(running.database, *(user_registered(3, seq) for seq in range(1, 101)))
        await eventually(lambda: count(running.database, "parked"), lambda parked: parked == 100)
        listener.failing = set()
        await eventually(lambda: count(running.database, "parked"), lambda parked: parked == 0)
        assert listener.seqs(3) == list(range(1, 101))


async def test_invalid_json_goes_to_the_dead_letters_and_halts_its_key(
    settings: ServiceSettings, listener: Listener, kafka_bootstrap: str
) -> None:
    async with RunningService(listener.build, settings) as running:
        await running.producer.send([message(None, "8", b"{not json")])
        await publish(running.database, user_registered(8), user_registered(9))
        await eventually(lambda: count(running.database, "parked"), lambda parked: parked == 2)
        await eventually(lambda: _count_received(listener), lambda length: length == 1)
        letters = await read_all(kafka_bootstrap, f"{settings.kafka_topic_prefix}user.registered.dlq", 1)
    assert listener.seqs(9) == [1]
    headers = {name: value.decode() for name, value in letters[0].headers}
    assert letters[0].value == b"{not json"
    assert headers["dlq_topic"] == "user.registered"
    assert headers["dlq_group"] == "analytics"
    assert "JSON" in headers["dlq_reason"]


async def read_all(bootstrap: str, topic: str, expected: int) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(patient(20)):
            return [await consumer.getone() for _ in range(expected)]
    finally:
        await consumer.stop()


async def test_a_forged_tenant_in_the_body_is_refused(settings: ServiceSettings, listener: Listener) -> None:
    forged = user_registered(66)
    async with RunningService(listener.build, settings) as running:
        await running.producer.send([message(forged, "10", forged.model_dump_json().encode())])
        await eventually(lambda: count(running.database, "parked"), lambda parked: parked == 1)
        assert await locate_user(running.database, forged.public_id) is None
    assert not listener.received


async def test_a_row_too_large_is_dead_and_holds_only_its_own_key(settings: ServiceSettings) -> None:
    database = await Database.connect(settings)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    relay = Relay(database, producer, KnownCluster(database))
    for rows in ([_row(1, b"x" * (MAX_PAYLOAD_BYTES + 1)), _row(1)], [_row(2)]):
        async with database.tenant(rows[0].user_id) as connection:
            await insert_outgoing(connection, rows)
    assert await relay.send_waiting() + await relay.send_waiting() == 1
    assert await count(database, "outbox WHERE dead_reason IS NOT NULL") == 1
    assert await count(database, "outbox WHERE sent_at IS NOT NULL AND user_id = 2") == 1
    async with database.queue() as connection:
        await connection.execute("UPDATE outbox SET dropped_at = now() WHERE dead_reason IS NOT NULL")
    assert await relay.send_waiting() == 1
    await producer.stop()
    await database.close()


async def test_a_row_of_a_slow_transaction_is_sent_after_its_commit(settings: ServiceSettings) -> None:
    database = await Database.connect(settings)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    relay = Relay(database, producer, KnownCluster(database))
    async with database.tenant(1) as slow:
        await insert_outgoing(slow, [_row(1)])
        async with database.tenant(1) as fast:
            await insert_outgoing(fast, [_row(1)])
        assert await relay.send_waiting() == 1
    assert await relay.send_waiting() == 1
    assert await count(database, "outbox WHERE sent_at IS NULL") == 0
    await producer.stop()
    await database.close()


async def test_two_relays_keep_the_order_of_each_key(settings: ServiceSettings, kafka_bootstrap: str) -> None:
    database = await Database.connect(settings)
    producers = [Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix) for _ in range(2)]
    relays = [Relay(database, producer, KnownCluster(database)) for producer in producers]
    stop = asyncio.Event()
    running = [asyncio.create_task(relay.run(stop)) for relay in relays]
    async with database.tenant(1) as connection:
        for number in range(200):
            await insert_outgoing(connection, [_row(1, str(number).encode())])
    await eventually(lambda: count(database, "outbox WHERE sent_at IS NULL"), lambda left: left == 0)
    stop.set()
    await asyncio.gather(*running)
    records = await read_all(kafka_bootstrap, f"{settings.kafka_topic_prefix}user.registered", 200)
    assert [int(record.value) for record in records] == list(range(200))
    for producer in producers:
        await producer.stop()
    await database.close()


async def test_messages_of_all_sizes_keep_the_order_of_their_key(
    settings: ServiceSettings, kafka_bootstrap: str
) -> None:
    """Some share a batch, some fill one, and some are larger than one."""
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    bodies = [b"%06d" % number + b"x" * size for number, size in enumerate([0, 300_000, 0, 90_000, 90_000, 0] * 4)]
    await producer.send([message(None, "1", body) for body in bodies])
    await producer.stop()
    records = await read_all(kafka_bootstrap, f"{settings.kafka_topic_prefix}user.registered", len(bodies))
    assert [record.value for record in records] == bodies


async def test_a_newer_version_parks_its_key_and_shows_in_readiness(
    settings: ServiceSettings, listener: Listener
) -> None:
    event = user_registered(11)
    newer = message(event, "11", event.model_dump_json().encode())
    newer.headers["ce_dataschema"] = "tradefleet:user.registered:2"
    async with RunningService(listener.build, settings) as running:
        await running.producer.send([newer])
        await publish(running.database, user_registered(11, 2), user_registered(12))
        await eventually(lambda: count(running.database, "parked"), lambda parked: parked == 2)
        await eventually(lambda: _count_received(listener), lambda length: length == 1)
        async with aiohttp.ClientSession() as session, session.get(f"{running.url}/readyz") as answer:
            status, body = answer.status, await answer.json()
    assert listener.seqs(12) == [1]
    assert (status, body["faults"]) == (200, [])
    assert body["parked"] == ["user.registered: version 2 is newer than this program, keys parked: 1"]
