"""Whether the offsets that a group has committed belong to this broker and this state of the outbox."""

from collections.abc import Collection, Sequence

from aiokafka import TopicPartition

from shared.chassis.events.cluster import Known
from shared.chassis.postgres import Database


class ReadPositions:
    """A broker that was emptied may hold offsets committed by members that had not noticed; those lose events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unknown(
        self, group: str, partitions: Collection[TopicPartition], known: Known
    ) -> list[TopicPartition]:
        """Those of which nothing was committed yet on this cluster and since its last replay."""
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

    async def mark(self, group: str, partitions: Sequence[TopicPartition], known: Known) -> None:
        """From now on what is committed for them is trusted."""
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
