"""Each service's Kafka principal tries every operation on every topic and group; only what the contracts grant
works."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.handlers import PartitionReader, groups_of, partitions_of
from shared.chassis.events.producer import Outgoing, Producer
from shared.contracts.billing import SubscriptionChanged
from shared.contracts.catalog import EVENTS
from stack import acl_api
from stack.acl_api import Acl, Operation, Resource
from stack.failure import BadInput
from stack.grants import apply_grants, plan_grants
from stack.migrate import SERVICES
from stack.subscribers import add_subscriber, change_password, list_subscribers, remove_subscriber
from stack.topic_clients import dead_letter_senders, receivers, senders
from stack.topics import open_admin_client
from tests.isolation.secured_broker import SecuredBroker, secured_broker
from tests.pace import patient

pytestmark = pytest.mark.timeout(180)

WRITERS = {event.topic: set(senders(event)) for event in EVENTS} | {
    f"{event.topic}.dlq": set(dead_letter_senders(event)) for event in EVENTS
}
READERS = {event.topic: set(receivers(event)) for event in EVENTS} | {
    f"{event.topic}.dlq": set() for event in EVENTS
}
ANSWER_WITHIN_S = patient(20)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as running:
        yield running


@asynccontextmanager
async def plain_producer(access: KafkaAccess) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(**client_options(access), enable_idempotence=False, linger_ms=0)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def reader(access: KafkaAccess, group: str | None = None) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        **client_options(access), group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def writes(producer: Any, topic: str) -> bool:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await producer.send_and_wait(topic, b"{}", key=b"1", partition=0)
    except TopicAuthorizationFailedError:
        return False
    return True


async def reads(access: KafkaAccess, topic: str) -> bool:
    """Return whether it can read a message of the operator.

    A topic that the principal may not describe cannot be fetched from either.
    """
    try:
        await partitions_of(access, [topic])
    except TopicAuthorizationFailedError:
        return False
    async with reader(access) as consumer, asyncio.timeout(ANSWER_WITHIN_S):
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        try:
            await consumer.getone()
        except TopicAuthorizationFailedError:
            return False
        return True


async def test_only_its_senders_write_a_topic(broker: SecuredBroker) -> None:
    for service in SERVICES:
        async with plain_producer(broker.service(service)) as producer:
            for topic, allowed in WRITERS.items():
                assert await writes(producer, broker.prefix + topic) == (service in allowed), f"{service}: {topic}"


async def test_only_its_receivers_read_a_topic(broker: SecuredBroker) -> None:
    async with plain_producer(broker.admin) as producer:
        for topic in READERS:
            assert await writes(producer, broker.prefix + topic)
    for topic, allowed in READERS.items():
        may = await asyncio.gather(*(reads(broker.service(service), broker.prefix + topic) for service in SERVICES))
        assert {service for service, can in zip(SERVICES, may, strict=True) if can} == allowed, topic


async def test_only_its_service_uses_a_group(broker: SecuredBroker) -> None:
    groups = [(owner, broker.prefix + group) for owner in SERVICES for group in groups_of(owner)]
    for service in SERVICES:
        topic = next(topic for topic, allowed in READERS.items() if service in allowed)
        partition = TopicPartition(broker.prefix + topic, 0)
        for owner, group in [*groups, ("nobody", f"{broker.prefix}{service}-x"), ("nobody", service)]:
            may = True
            async with reader(broker.service(service), group) as consumer:
                consumer.assign([partition])
                try:
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        await consumer.commit({partition: 0})
                except GroupAuthorizationFailedError:
                    may = False
            assert may == (service == owner), f"{service}: {group}"


async def test_the_grants_of_a_service_suffice_for_its_programs(broker: SecuredBroker) -> None:
    """An idempotent producer, the cluster id, the topics' partitions, a consumer without a group."""
    producer = Producer(broker.service("billing"), broker.prefix)
    try:
        assert await producer.connect()
        await producer.send([Outgoing("subscription.changed", "1", {}, b"{}")])
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send([Outgoing("activity.recorded.dlq", "1", {}, b"{}")])
        await producer.send([Outgoing("subscription.changed", "1", {}, b"{}")])
    finally:
        await producer.stop()
    assert await partitions_of(broker.service("trading"), [f"{broker.prefix}subscription.changed"])
    listening = PartitionReader(broker.service("trading"), broker.prefix, [SubscriptionChanged], from_end=False)
    try:
        await listening.start()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while not await listening.caught_up():
                await listening.read()
    finally:
        await listening.stop()


@pytest.mark.parametrize("wrong", ["no login", "no such user", "wrong password", "wrong admin", "the controller's"])
async def test_without_a_login_nothing_is_allowed(broker: SecuredBroker, wrong: str) -> None:
    access = {
        "no login": broker.anonymous,
        "no such user": broker.login("mallory", "guess"),
        "wrong password": broker.login("auth", "guess"),
        "wrong admin": replace(broker.admin, password="guess"),
        "the controller's": replace(broker.service("auth"), bootstrap=f"127.0.0.1:{broker.controller_port}"),
    }[wrong]
    with pytest.raises((KafkaConnectionError, TimeoutError)):
        async with asyncio.timeout(5), plain_producer(access):
            pass


async def test_a_raw_connection_gets_no_answer_before_it_logs_in(broker: SecuredBroker) -> None:
    host, _, port = broker.admin.bootstrap.rpartition(":")
    metadata = bytes.fromhex("0003 0004 00000001 0001 78 ffffffff 00")
    for each in (int(port), broker.controller_port):
        with socket.create_connection((host, each), timeout=5) as plain:
            plain.sendall(len(metadata).to_bytes(4) + metadata)
            plain.settimeout(5)
            with suppress(ConnectionResetError):
                assert plain.recv(100) == b""


async def test_no_service_manages_the_broker(broker: SecuredBroker) -> None:
    topic = f"{broker.prefix}trade.closed"
    grab = Acl(f"{broker.prefix}trading", Resource.TOPIC, f"{broker.prefix}subscription.changed", Operation.WRITE)
    for service in SERVICES:
        async with open_admin_client(broker.service(service)) as admin:
            for work in (
                acl_api.describe_acls(admin),
                acl_api.create_acls(admin, [grab]),
                acl_api.delete_acls(admin, [grab]),
                acl_api.list_users(admin),
                acl_api.set_passwords(admin, [(f"{broker.prefix}billing", "taken")]),
                acl_api.delete_users(admin, [f"{broker.prefix}billing"]),
                _makes_topic(admin, f"{broker.prefix}leak"),
                _deletes_topic(admin, topic),
                _alters_topic(admin, topic),
            ):
                with pytest.raises(KafkaError):
                    await work
    assert not (await plan_grants(broker.admin, broker.prefix)).differ


async def _makes_topic(admin: AIOKafkaAdminClient, name: str) -> None:
    answer = await admin.create_topics([NewTopic(name, 1, 1)])
    _raise(answer.topic_errors[0][1])


async def _deletes_topic(admin: AIOKafkaAdminClient, name: str) -> None:
    answer = await admin.delete_topics([name])
    _raise(answer.topic_error_codes[0][1])


async def _alters_topic(admin: AIOKafkaAdminClient, name: str) -> None:
    resource = ConfigResource(ConfigResourceType.TOPIC, name, configs={"retention.ms": "1"})
    (answer,) = await admin.alter_configs([resource])
    _raise(answer.resources[0][0])


def _raise(code: int) -> None:
    if code:
        raise KafkaError(code)


async def test_surplus_grants_are_shown_and_revoked(broker: SecuredBroker) -> None:
    topic = f"{broker.prefix}subscription.changed"
    forged = Acl(f"{broker.prefix}trading", Resource.TOPIC, topic, Operation.WRITE)
    everybody = Acl("*", Resource.TOPIC, topic, Operation.READ)
    async with open_admin_client(broker.admin) as admin:
        await acl_api.create_acls(admin, [forged, everybody])
        await acl_api.wait_until_seen(admin, (), created=[forged, everybody])
    plan = await plan_grants(broker.admin, broker.prefix)
    assert (plan.differ, list(plan.superfluous), list(plan.others)) == (True, [forged], [everybody])
    await apply_grants(broker.admin, broker.prefix)
    plan = await plan_grants(broker.admin, broker.prefix)
    assert (plan.differ, list(plan.others)) == (False, [everybody])
    async with open_admin_client(broker.admin) as admin:
        await acl_api.delete_acls(admin, [everybody])
        await acl_api.wait_until_seen(admin, (), deleted=[everybody])


async def test_a_subscriber_reads_its_topics_and_does_nothing_else(broker: SecuredBroker) -> None:
    topics = ["trade.closed", "candle.closed"]
    password = await add_subscriber(broker.admin, broker.prefix, "reports", topics, "reports")
    login = broker.login("reports", password)
    async with plain_producer(broker.admin) as producer:
        for topic in READERS:
            assert await writes(producer, broker.prefix + topic)
    async with plain_producer(login) as producer:
        for topic in READERS:
            assert await reads(login, broker.prefix + topic) == (topic in topics), topic
            assert not await writes(producer, broker.prefix + topic), topic
    partition = TopicPartition(f"{broker.prefix}trade.closed", 0)
    for group, may in (("reports-nightly", True), ("reports", True), ("trading", False), ("report", False)):
        async with reader(login, broker.prefix + group) as consumer:
            consumer.assign([partition])
            try:
                await consumer.commit({partition: 0})
                assert may, group
            except GroupAuthorizationFailedError:
                assert not may, group
    assert [each.user for each in await list_subscribers(broker.admin, broker.prefix)] == [
        f"{broker.prefix}reports"
    ]
    changed = await change_password(broker.admin, broker.prefix, "reports")
    with pytest.raises(KafkaConnectionError):
        await reads(login, f"{broker.prefix}trade.closed")
    assert await reads(broker.login("reports", changed), f"{broker.prefix}trade.closed")
    await remove_subscriber(broker.admin, broker.prefix, "reports")
    with pytest.raises(KafkaConnectionError):
        await reads(broker.login("reports", changed), f"{broker.prefix}trade.closed")
    assert await list_subscribers(broker.admin, broker.prefix) == []


@pytest.mark.parametrize(
    ("name", "topics", "group"),
    [
        ("billing", ["trade.closed"], "reports"),
        ("admin", ["trade.closed"], "reports"),
        ("x" * 64, ["trade.closed"], "reports"),
        ("Reports", ["trade.closed"], "reports"),
        ("reports", ["trade.closed.dlq"], "reports"),
        ("reports", ["*"], "reports"),
        ("reports", [], "reports"),
        ("reports", ["trade.closed"], ""),
        ("reports", ["trade.closed"], "*"),
        ("reports", ["trade.closed"], "trading"),
        ("reports", ["trade.closed"], "trad"),
        ("reports", ["trade.closed"], "trading-market"),
    ],
)
async def test_a_subscriber_cannot_get_the_topics_or_groups_of_another(
    broker: SecuredBroker, name: str, topics: list[str], group: str
) -> None:
    with pytest.raises(BadInput):
        await add_subscriber(broker.admin, broker.prefix, name, topics, group)
    assert await list_subscribers(broker.admin, broker.prefix) == []


async def test_two_subscribers_do_not_share_groups(broker: SecuredBroker) -> None:
    await add_subscriber(broker.admin, broker.prefix, "reports", ["trade.closed"], "reports")
    for name, group in (("reports", "other"), ("others", "rep"), ("others", "reports-x"), ("others", "reports")):
        with pytest.raises(BadInput):
            await add_subscriber(broker.admin, broker.prefix, name, ["trade.closed"], group)
    await remove_subscriber(broker.admin, broker.prefix, "reports")
    with pytest.raises(BadInput):
        await remove_subscriber(broker.admin, broker.prefix, "trading")
    with pytest.raises(BadInput):
        await remove_subscriber(broker.admin, broker.prefix, "reports")
