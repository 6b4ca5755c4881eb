"""Which Kafka cluster this is: one that was emptied or replaced must be noticed, or what is sent to it is lost.

An idempotent producer that outlived an emptied broker shares its producer id with a new one: its sends are
acknowledged and thrown away as duplicates. So the cluster's id is asked for on the producer's own connection.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest

from shared.chassis.postgres import Database

ANSWER_WITHIN_S = 5.0

log = structlog.get_logger()


class ClusterChangedError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The broker is another one than before: what was sent to it is unknown, positions mean nothing there."""


@dataclass(frozen=True)
class Known:
    """The cluster that a service's rows were sent to, and how often its outbox was replayed."""

    cluster_id: str
    replays: int


class KnownCluster:
    """The database's memory of the broker. `fault` says what readiness should tell, or nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fault = ""

    async def compare(self, cluster_id: str) -> Known:
        """What the database knows, which is this cluster where it knew none; notes a fault if it is another."""
        known = await self._known(cluster_id)
        if known.cluster_id == cluster_id:
            self.fault = ""
        elif not self.fault:
            self.fault = (
                f"the broker is another one (cluster {cluster_id}, was {known.cluster_id}): nothing is sent to it "
                "before `tradefleet outbox replay`"
            )
            log.error("broker_changed", cluster_id=cluster_id, known=known.cluster_id)
        return known

    async def _known(self, cluster_id: str) -> Known:
        async with self._database.queue() as connection:
            row = await connection.fetchrow("SELECT cluster_id, replays FROM event_broker")
            if row is None:
                row = await connection.fetchrow(
                    """
                    INSERT INTO event_broker (cluster_id) VALUES ($1)
                    ON CONFLICT (only_one) DO UPDATE SET noted_at = event_broker.noted_at
                    RETURNING cluster_id, replays
                    """,
                    cluster_id,
                )
        return Known(row["cluster_id"], row["replays"])


async def cluster_id_of(client: Any) -> str:  # Any: aiokafka's client has no types
    """The id of the cluster at the other end of this client's connection. Raises KafkaError."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            node = client.get_random_node()
            if node is None:
                raise NodeNotReadyError("no broker is known")
            answer = await client.send(node, MetadataRequest([]))
    except TimeoutError as error:
        raise NodeNotReadyError("the broker does not say who it is") from error
    return str(answer.cluster_id)
