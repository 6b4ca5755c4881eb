"""Detects a Kafka cluster that was emptied or replaced; otherwise events sent to it would be lost.

An idempotent producer that outlives an emptied broker may share its producer id with a new one: its sends are then
acknowledged but discarded as duplicates. So the cluster id is requested on the producer's own connection.
"""

import time
from dataclasses import dataclass

import structlog
from aiokafka.errors import KafkaError

from shared.chassis.postgres import Database

REPLAYS_KNOWN_FOR_S = 3.0

log = structlog.get_logger()


class ClusterChangedError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The broker is another one than before: what it holds is unknown, and committed positions are meaningless."""


@dataclass(frozen=True)
class ClusterState:
    """The cluster that a service's outbox was sent to, and how often the outbox was replayed."""

    cluster_id: str
    replays: int


class KnownCluster:
    """The cluster recorded in the database. `fault` is shown by readiness, if not empty."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fault = ""
        self._replays = 0
        self._read_at = -REPLAYS_KNOWN_FOR_S

    async def compare(self, cluster_id: str) -> ClusterState:
        """Return the recorded cluster, after recording this one if there was none. Sets `fault` if they differ."""
        known = await self._known(cluster_id)
        if known.cluster_id == cluster_id:
            self.fault = ""
        elif not self.fault:
            self.fault = (
                f"the broker has changed (cluster {cluster_id}, was {known.cluster_id}): nothing is sent to it "
                "before `tradefleet outbox replay`"
            )
            log.error("broker_changed", cluster_id=cluster_id, known=known.cluster_id)
        self._replays, self._read_at = known.replays, time.monotonic()
        return known

    async def replays(self) -> int:
        """Return how often the outbox was replayed, as known REPLAYS_KNOWN_FOR_S ago or later."""
        if time.monotonic() - self._read_at > REPLAYS_KNOWN_FOR_S:
            self._read_at = time.monotonic()
            async with self._database.queue() as connection:
                self._replays = await connection.fetchval("SELECT replays FROM event_broker")
        return self._replays

    async def _known(self, cluster_id: str) -> ClusterState:
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
        return ClusterState(row["cluster_id"], row["replays"])
