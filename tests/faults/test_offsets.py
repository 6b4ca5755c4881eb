"""Offsets unknown to the broker: consumption continues from the earliest message, and duplicates nothing."""

import asyncio
import signal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete

from shared.chassis.events.handlers import FETCH_WAIT_MS, partitions_of
from stack.topics import open_admin_client
from tests.faults.scene import Scene, some_trades

BEYOND = 1_000_000


async def test_an_offset_beyond_the_end_is_reset_to_the_earliest(scene: Scene) -> None:
    first = await scene.start("consumers")
    await scene.produce(events := some_trades(30))
    await scene.assert_settled(events)
    await first.end(signal.SIGTERM)
    await commit_beyond_the_end(scene)
    await scene.produce(more := some_trades(30, after=30))  # before a consumer could be assigned the end
    await scene.start("consumers")
    await scene.assert_settled([*events, *more])


async def test_messages_deleted_under_a_consumer_do_not_stop_it(scene: Scene) -> None:
    frozen = await scene.start("consumers")
    await scene.produce(events := some_trades(30))
    await scene.assert_settled(events)
    frozen.send(signal.SIGSTOP)
    await asyncio.sleep(4 * FETCH_WAIT_MS / 1000)  # until its last fetch was answered empty
    await scene.produce(some_trades(30, after=30))  # retention deletes them before they are consumed
    await drop_all_messages(scene)
    await scene.produce(more := some_trades(30, after=60))
    frozen.send(signal.SIGCONT)
    await scene.assert_settled([*events, *more])  # and nothing else: its old offset does not exist any more


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
    async with open_admin_client(scene.bootstrap) as admin:
        await admin.delete_records({partition: RecordsToDelete(before_offset=-1) for partition in partitions})
