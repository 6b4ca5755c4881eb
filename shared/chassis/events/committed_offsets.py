"""Records whether a group's committed offsets belong to this cluster and this replay of the outbox."""

from collections.abc import Collection, Sequence

from aiokafka import TopicPartition

from shared.chassis.events.cluster import ClusterState
from shared.chassis.postgres import Database


class ReadPositions:
    """Records which committed offsets can be trusted.

    After a broker was emptied, it may hold offsets committed by members that had not noticed; trusting those would
    lose events.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unknown(
        self, group: str, partitions: Collection[TopicPartition], known: ClusterState
    ) -> list[TopicPartition]:
        """Return the partitions without a commit on this cluster since its last replay."""
        async with self._database.queue() as connection:
            rows = await connection.fetch(
                """
                SELECT topic, kafka_partition FROM read_positions
                WHERE consumer = $1 AND cluster_id = $2 AND replays = $3
                """,
                group,
                known.cluster_id,
                known.replays,
            )
        trusted = {TopicPartition(row["topic"], row["kafka_partition"]) for row in rows}
        return [partition for partition in partitions if partition not in trusted]

    async def mark(self, group: str, partitions: Sequence[TopicPartition], known: ClusterState) -> None:
        """Record that the committed offsets of these partitions can be trusted from now on."""
        async with self._database.queue() as connection:
            await connection.execute(
                """
                INSERT INTO read_positions (consumer, topic, kafka_partition, cluster_id, replays)
                SELECT $1, topic, kafka_partition, $4, $5
                FROM unnest($2::text[], $3::integer[]) AS read (topic, kafka_partition)
                ON CONFLICT (consumer, topic, kafka_partition)
                DO UPDATE SET cluster_id = excluded.cluster_id, replays = excluded.replays
                """,
                group,
                [partition.topic for partition in partitions],
                [partition.partition for partition in partitions],
                known.cluster_id,
                known.replays,
            )
