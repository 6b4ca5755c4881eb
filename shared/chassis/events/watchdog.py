"""Ends a consumer that makes no progress while its lag grows, so that its supervisor restarts it."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.chassis import telemetry

CHECK_EVERY_S = 10.0
STUCK_AFTER_S = 60.0
ANSWER_WITHIN_S = 5.0  # longer than a fetch waits: the request comes behind it

log = structlog.get_logger()


class StuckError(Exception):
    """This member reads nothing while its lag grows; only a restart of the process helps."""


class Watchdog:
    """Compares the end offsets of the broker with the positions of this member.

    `active_at` is the time of the last fetch or retry per partition. A partition that is paused after a database
    fault is retried again and again, so it does not count as stuck.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        group: str,
        topics: Sequence[str],
        active_at: Mapping[TopicPartition, float],
        stuck_after_s: float = STUCK_AFTER_S,
    ) -> None:
        self._consumer = consumer
        self._group = group
        self._topics = topics
        self._active_at = active_at
        self._stuck_after_s = stuck_after_s
        self._checked_at = time.monotonic()
        # For each partition that lags without activity: since when, its last activity, and its lag then.
        self._lagging_since: dict[TopicPartition, tuple[float, float, int]] = {}

    def fault(self) -> str:
        """Return the fault for readiness if a topic is missing, or an empty text."""
        missing = [topic for topic in self._topics if not self._consumer.partitions_for_topic(topic)]
        return f"there is no topic {', '.join(missing)}" if missing else ""

    async def check(self) -> None:
        """Measure the lag. Raises StuckError."""
        now = time.monotonic()
        if now - self._checked_at < min(CHECK_EVERY_S, self._stuck_after_s / 4):
            return
        self._checked_at = now
        lags = await self._lags()
        telemetry.CONSUMER_LAG.labels(self._group).set(sum(lags.values()))
        for partition, lag in lags.items():
            active = self._active_at.get(partition, now)
            since, then_active, then_lag = self._lagging_since.get(partition, (now, None, 0))
            if not lag or active != then_active:
                self._lagging_since[partition] = (now, active, lag)
            elif now - since >= self._stuck_after_s and lag > then_lag:
                where = f"{partition.topic}/{partition.partition}"
                raise StuckError(f"{where}: lag {lag}, nothing read for {now - since:.0f} s")

    async def _lags(self) -> dict[TopicPartition, int]:
        """Return the lag of each partition; empty if the broker does not answer, which is not a fault of ours."""
        partitions = list(self._consumer.assignment())
        if not partitions:
            return {}
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                ends = await self._consumer.end_offsets(partitions)
        except (KafkaError, TimeoutError) as error:
            log.info("lag_unknown", group=self._group, error=repr(error))
            return {}
        return {partition: max(0, ends[partition] - await self._position(partition)) for partition in partitions}

    async def _position(self, partition: TopicPartition) -> int:
        """Return the position of this member; 0 while it is unknown."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                position: int = await self._consumer.position(partition)
                return position
        except (KafkaError, TimeoutError):
            return 0
