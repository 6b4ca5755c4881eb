"""A consumer that makes no progress while its lag grows ends, so that its supervisor starts it anew."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.chassis import telemetry

LOOK_EVERY_S = 5.0
STUCK_AFTER_S = 60.0
ANSWER_WITHIN_S = 3.0

log = structlog.get_logger()


class StuckError(Exception):
    """This member reads nothing though there is more and more to read: it cannot help itself."""


class Watchdog:
    """Compares what the broker has with what this member has read.

    `active_at` says when something of a partition was last fetched or tried; a partition that rests after a
    fault of the database is tried again and again, and so is not stuck.
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
        self._looked_at = time.monotonic()
        # Since when each is behind without having been active, from which activity on, and how far it was then.
        self._behind: dict[TopicPartition, tuple[float, float, int]] = {}

    def fault(self) -> str:
        """What readiness should say of the topics, or nothing."""
        missing = [topic for topic in self._topics if not self._consumer.partitions_for_topic(topic)]
        return f"there is no topic {', '.join(missing)}" if missing else ""

    async def look(self) -> None:
        """Raises StuckError."""
        now = time.monotonic()
        if now - self._looked_at < min(LOOK_EVERY_S, self._stuck_after_s / 4):
            return
        self._looked_at = now
        lags = await self._lags()
        telemetry.CONSUMER_LAG.labels(self._group).set(sum(lags.values()))
        for partition, lag in lags.items():
            active = self._active_at.get(partition, now)
            since, then_active, then_lag = self._behind.get(partition, (now, None, 0))
            if not lag or active != then_active:
                self._behind[partition] = (now, active, lag)
            elif now - since >= self._stuck_after_s and lag > then_lag:
                where = f"{partition.topic}/{partition.partition}"
                raise StuckError(f"{where}: lag {lag}, nothing was read for {now - since:.0f} s")

    async def _lags(self) -> dict[TopicPartition, int]:
        """None of a broker that does not answer: that is its fault, not this member's."""
        partitions = list(self._consumer.assignment())
        if not partitions:
            return {}
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                ends = await self._consumer.end_offsets(partitions)
        except (KafkaError, TimeoutError) as error:
            log.info("lag_unknown", group=self._group, error=repr(error))
            return {}
        return {partition: max(0, ends[partition] - await self._read(partition)) for partition in partitions}

    async def _read(self, partition: TopicPartition) -> int:
        """Up to where this member has read; 0 where it has not found out where it stands."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                position: int = await self._consumer.position(partition)
                return position
        except (KafkaError, TimeoutError):
            return 0
