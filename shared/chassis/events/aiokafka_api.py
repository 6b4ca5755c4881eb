"""The uses of aiokafka's private fields, each for something that its public interface lacks."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest

ANSWER_TIMEOUT_S = 5.0


async def cluster_id_of(client: AIOKafkaConsumer | AIOKafkaProducer) -> str:
    """Return the id of the cluster that this client is connected to. Raises KafkaError."""
    connections = client._client if isinstance(client, AIOKafkaConsumer) else client.client
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            node = connections.get_random_node()
            if node is None:
                raise NodeNotReadyError("no broker is known")
            answer = await connections.send(node, MetadataRequest([]))
    except TimeoutError as error:
        raise NodeNotReadyError("the broker did not answer with its cluster id") from error
    return str(answer.cluster_id)


async def join_group(
    consumer: AIOKafkaConsumer, topics: Sequence[str], listener: ConsumerRebalanceListener
) -> None:
    """Subscribe a started consumer and wait for its first assignment. `start` waits for it only if it comes after
    `subscribe`. Raises KafkaError, also for a topic that does not exist."""
    assigned = consumer._subscription.wait_for_assignment()  # the next one
    consumer.subscribe(topics, listener=listener)
    await consumer._wait_topics()
    await assigned


def connections_of(consumer: AIOKafkaConsumer) -> frozenset[object]:
    """Return the open connections. Each leads to the same cluster as long as it exists."""
    return frozenset(consumer._client._conns.values())


def known_positions(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Return the positions that are known without asking the broker, as `position` would."""
    subscription = consumer._subscription.subscription
    if subscription is None or subscription.assignment is None:
        return {}
    assignment = subscription.assignment
    states = {partition: assignment.state_value(partition) for partition in assignment.tps}
    return {partition: state.position for partition, state in states.items() if state and state.has_valid_position}


def cancel_fetching(consumer: AIOKafkaConsumer) -> None:
    """Cancel the task that `stop` waits for."""
    if consumer._fetcher is not None:
        consumer._fetcher._fetch_task.cancel()


async def close_connections(consumer: AIOKafkaConsumer) -> None:
    await consumer._client.close()


def producer_id_of(producer: AIOKafkaProducer) -> int:
    """Return the id under which the broker recognises this producer's duplicates."""
    producer_id: int = producer._txn_manager.producer_id
    return producer_id


async def close_without_flushing(producer: AIOKafkaProducer) -> None:
    """Close the producer; `stop` would send the rest of its buffers first."""
    producer._closed = True
    sender = producer._sender.sender_task if producer._sender is not None else None
    if sender is not None:
        sender.cancel()
    await producer.client.close()
    if sender is not None:
        await asyncio.wait([sender])
