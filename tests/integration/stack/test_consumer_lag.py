"""What a group has not read yet counts as long as it can be read."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from shared.chassis.events.producer import Outgoing, Producer
from stack.consumer_lag import consumer_lag
from stack.topics import open_admin_client

TOPIC = "trade.closed"


async def test_messages_deleted_before_a_group_read_them_count_no_more(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    group = f"{topic_prefix}analytics"
    producer = Producer(kafka_bootstrap, topic_prefix)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        async with open_admin_client(kafka_bootstrap) as admin:
            partitions = [TopicPartition(topic_prefix + TOPIC, each) for each in range(2)]
            ends = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            await consumer.commit(ends)
            await producer.send([Outgoing(TOPIC, str(number), {}, b"{}") for number in range(20)])
            assert await consumer_lag(admin, kafka_bootstrap, topic_prefix) == {group: 20}
            await admin.delete_records(dict.fromkeys(partitions, RecordsToDelete(-1)))
            assert await consumer_lag(admin, kafka_bootstrap, topic_prefix) == {}
    finally:
        await consumer.stop()
        await producer.stop()
