"""Offsets that mean nothing to the broker: reading goes on from the earliest message, and doubles nothing."""

import asyncio
import signal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from shared.chassis.events.handlers import FETCH_WAIT_MS, partitions_of
from tests.faults.scene import Scene, some_trades

BEYOND = 1_000_000


async def test_an_offset_beyond_the_end_is_read_again_from_the_earliest(scene: Scene) -> None:
    first = await scene.start("consumers")
    await scene.produce(events := some_trades(30))
    await scene.settled(events)
    await first.end(signal.SIGTERM)
    await commit_beyond_the_end(scene)
    await scene.produce(more := some_trades(30, after=30))  # before anybody could stand at the end
    await scene.start("consumers")
    await scene.settled([*events, *more])


async def test_messages_that_the_broker_dropped_under_a_reader_stop_nobody(scene: Scene) -> None:
    frozen = await scene.start("consumers")
    await scene.produce(events := some_trades(30))
    await scene.settled(events)
    frozen.send(signal.SIGSTOP)
    await asyncio.sleep(4 * FETCH_WAIT_MS / 1000)  # until what it last asked for was answered with nothing
    await scene.produce(some_trades(30, after=30))  # retention takes them before anybody has read them
    await drop_all_messages(scene)
    await scene.produce(more := some_trades(30, after=60))
    frozen.send(signal.SIGCONT)
    await scene.settled([*events, *more])  # and nothing else: where it stood was not there any more


async def commit_beyond_the_end(scene: Scene) -> None:
    partitions: list[TopicPartition] = await partitions_of(scene.bootstrap, [scene.topic])
    consumer = AIOKafkaConsumer(
        bootstrap_servers=scene.bootstrap, group_id=f"{scene.prefix}analytics", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign(partitions)
    await consumer.commit(dict.fromkeys(partitions, BEYOND))
    await consumer.stop()


async def drop_all_messages(scene: Scene) -> None:
    partitions: list[TopicPartition] = await partitions_of(scene.bootstrap, [scene.topic])
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.bootstrap)
    await admin.start()
    await admin.delete_records({partition: RecordsToDelete(before_offset=-1) for partition in partitions})
    await admin.close()
