"""A member of a consumer group: passes batches to handlers, then commits offsets, and notices when it is stuck."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from shared.chassis.crash_points import point
from shared.chassis.events.aiokafka_api import cluster_id_of, connections_of, join_group
from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.cluster import ClusterChangedError, ClusterState, KnownCluster
from shared.chassis.events.committed_offsets import ReadPositions
from shared.chassis.events.decoding import Received, decode_records
from shared.chassis.events.fetch import Unreadable, fetch
from shared.chassis.events.handlers import FETCH_WAIT_MS, MAX_RECORDS, stop_consumer
from shared.chassis.events.watchdog import Watchdog
from shared.chassis.infrastructure_faults import RETRYABLE_FAULTS
from shared.chassis.pause import pause, unless_stopped
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS

START_TIMEOUT_S = 15
COMMIT_TIMEOUT_S = 5
DRAIN_TIMEOUT_S = 20
RETRY_FIRST_S = 0.2
RETRY_LONGEST_S = 5.0
COMPARE_CLUSTER_EVERY_S = 1.0  # if the connections have changed; a connection leads to one cluster
SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_MS = 1_000
REBALANCE_TIMEOUT_MS = 25_000  # longer than draining a batch may take
MAX_POLL_MS = 300_000
METADATA_MAX_AGE_MS = 10_000  # how soon a recreated topic is noticed

BatchHandler = Callable[[list[Received]], Awaitable[None]]

log = structlog.get_logger()


@dataclass
class _Batch:
    """The records fetched from one partition."""

    partition: TopicPartition
    records: Sequence[ConsumerRecord | Unreadable]
    received: list[Received]

    @property
    def first(self) -> int:
        offset: int = self.records[0].offset
        return offset

    @property
    def after(self) -> int:
        offset: int = self.records[-1].offset
        return offset + 1


class Consumer:
    """One group over several topics. A topic's handler gets its batches and raises only infrastructure faults."""

    def __init__(
        self,
        *,
        group: str,
        kafka: KafkaAccess,
        topic_prefix: str,
        handlers: Mapping[str, BatchHandler],
        cluster: KnownCluster,
        positions: ReadPositions,
    ) -> None:
        self._group = topic_prefix + group
        self._kafka = kafka
        self._prefix = topic_prefix
        self._handlers = handlers
        self._cluster = cluster
        self._positions = positions
        self.fault = "the broker does not answer"

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set, restarting after faults of the broker or the database. Raises StuckError."""
        while not stop.is_set():
            consumer = AIOKafkaConsumer(
                **client_options(self._kafka),
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=FETCH_WAIT_MS,
                session_timeout_ms=SESSION_TIMEOUT_MS,
                heartbeat_interval_ms=HEARTBEAT_MS,
                rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
                max_poll_interval_ms=MAX_POLL_MS,
                metadata_max_age_ms=METADATA_MAX_AGE_MS,
            )
            try:
                await self._run_member(consumer, stop)
            except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
                log.warning("consumer_restarts", group=self._group, error=repr(error))
                await pause(stop, RETRY_FIRST_S)
            finally:
                self.fault = "the broker does not answer"
                await stop_consumer(consumer)

    async def _run_member(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        member = _Member(consumer, self._group, self._prefix, self._handlers, self._positions)
        topics = [self._prefix + topic for topic in self._handlers]
        async with asyncio.timeout(START_TIMEOUT_S):
            await consumer.start()
            cluster_id = await cluster_id_of(consumer)  # before the first fetch, which it would wait behind
            await join_group(consumer, topics, member)
        known = await self._known(cluster_id, stop)
        if known is None:
            return
        member.trust(ClusterState(cluster_id, known.replays))
        await member.settle(stop)
        watchdog = Watchdog(consumer, self._group, topics, member.active_at)
        compared_at = time.monotonic()
        connections: frozenset[object] = frozenset()
        while not stop.is_set():
            self.fault = watchdog.fault()
            await member.step(stop)
            await watchdog.check()
            if time.monotonic() - compared_at > COMPARE_CLUSTER_EVERY_S:
                connections, compared = connections_of(consumer), connections
                if connections != compared:
                    await self._compare(consumer, cluster_id, stop)
                await self._check_replays(known)
                compared_at = time.monotonic()

    async def _known(self, cluster_id: str, stop: asyncio.Event) -> ClusterState | None:
        """Return the recorded cluster, or None once `stop` is set. While the database is unavailable, this member
        stays in the group and waits."""
        while not stop.is_set():
            try:
                return await self._cluster.compare(cluster_id)
            except INFRASTRUCTURE_FAULTS as error:
                log.info("cluster_not_compared", group=self._group, error=repr(error))
                await pause(stop, RETRY_FIRST_S)
        return None

    async def _compare(self, consumer: AIOKafkaConsumer, cluster_id: str, stop: asyncio.Event) -> None:
        """Raises ClusterChangedError if the consumer is connected to another cluster. The answer comes only after
        that to the fetch that is under way."""
        now_id = await unless_stopped(cluster_id_of(consumer), stop)
        if now_id not in (cluster_id, None):
            raise ClusterChangedError(f"cluster {now_id} answers for {cluster_id}")

    async def _check_replays(self, known: ClusterState) -> None:
        """Raises ClusterChangedError if the outbox was replayed: the positions of this member mean nothing now."""
        try:
            replays = await self._cluster.replays()
        except INFRASTRUCTURE_FAULTS as error:
            log.info("cluster_not_compared", group=self._group, error=repr(error))
            return  # a short outage of the database is no reason to leave the group
        if replays != known.replays:
            raise ClusterChangedError(f"the outbox was replayed ({replays}): read from the beginning")


class _Member(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One membership, from joining the group to leaving it."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        group: str,
        prefix: str,
        handlers: Mapping[str, BatchHandler],
        positions: ReadPositions,
    ) -> None:
        self._consumer = consumer
        self._group = group
        self._prefix = prefix
        self._handlers = handlers
        self._positions = positions
        self._trusted = asyncio.Event()
        self._known = ClusterState("", 0)
        self._settled = asyncio.Event()  # the partitions are assigned and their positions are set
        self._settlements = 0
        self._fault: BaseException | None = None
        self._processing = asyncio.Lock()
        self._unmarked: set[TopicPartition] = set()  # read from the beginning, until their first commit
        self._uncommitted: dict[TopicPartition, int] = {}  # processed, but the broker took no commit
        self._retry_s: dict[TopicPartition, float] = {}
        self._resume_at: dict[TopicPartition, float] = {}
        self.active_at: dict[TopicPartition, float] = {}

    def trust(self, known: ClusterState) -> None:
        """Set the cluster and replay that the offsets of this member belong to."""
        self._known = known
        self._trusted.set()

    async def settle(self, stop: asyncio.Event) -> None:
        """Wait until the positions of the first assignment are set: what is fetched earlier is fetched once more,
        after the broker has waited FETCH_WAIT_MS for more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await unless_stopped(self._settled.wait(), stop)

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Wait until the current batches are processed and committed before the partitions are given up."""
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S), self._processing:
                self._settled.clear()
                for state in (self._retry_s, self._resume_at, self.active_at, self._uncommitted):
                    state.clear()
        except TimeoutError:
            log.warning("not_drained", group=self._group, partitions=len(revoked))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Start from the beginning if the offsets were committed on another cluster or before a replay."""
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._trusted.wait()
                unknown = await self._positions.unknown(self._group, assigned, self._known)
            for partition in unknown:
                self._consumer.seek(partition, 0)
        except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
            self._fault = error  # raised by `step`; aiokafka would only log it and continue at the wrong position
        else:
            self._unmarked = set(unknown)
        self.active_at.update(dict.fromkeys(assigned, time.monotonic()))
        self._settlements += 1
        self._settled.set()

    async def step(self, stop: asyncio.Event) -> None:
        """Fetch and process the next records, topic by topic: all partitions of a topic in one batch."""
        self._resume_due()
        settlements = self._settlements
        fetched = await fetch(self._consumer, timeout_ms=self._wait_ms(), max_records=MAX_RECORDS, stop=stop)
        if self._fault is not None:
            raise self._fault
        if not fetched:
            if self._uncommitted:
                async with self._processing:
                    await self._commit({})
            return
        point("consumer.after_fetch")
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            await self._settled.wait()
        async with self._processing:
            mine = self._consumer.assignment()
            if settlements != self._settlements:  # perhaps fetched before the positions were set
                mine -= self._unmarked
                for partition in self._unmarked & fetched.keys():
                    self._consumer.seek(partition, 0)
            by_topic: dict[str, list[_Batch]] = {}
            for partition, records in fetched.items():
                if partition in mine:
                    by_topic.setdefault(partition.topic, []).append(self._decode_batch(partition, records))
            for topic, batches in by_topic.items():
                await self._process_batches(topic.removeprefix(self._prefix), batches)

    def _decode_batch(self, partition: TopicPartition, records: Sequence[ConsumerRecord | Unreadable]) -> _Batch:
        topic = partition.topic.removeprefix(self._prefix)
        self.active_at[partition] = time.monotonic()
        return _Batch(partition, records, decode_records(topic, records))

    async def _process_batches(self, topic: str, batches: Sequence[_Batch]) -> None:
        try:
            await self._handlers[topic]([record for batch in batches for record in batch.received])
        except (*RETRYABLE_FAULTS, KafkaError) as error:
            log.warning("consumer_retries", topic=topic, error=repr(error))
            for batch in batches:
                pause_s = self._retry_s.get(batch.partition, RETRY_FIRST_S)
                self._retry_s[batch.partition] = min(pause_s * 2, RETRY_LONGEST_S)
                self._retry_later(batch.partition, batch.first, pause_s)
            return
        point("consumer.after_work")
        for batch in batches:
            self._retry_s.pop(batch.partition, None)
        await self._commit({batch.partition: batch.after for batch in batches})
        point("consumer.after_offsets")

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit `offsets` and those that an earlier commit left; what this one leaves, the next one commits."""
        self._uncommitted.update(offsets)
        mine = self._consumer.assignment()
        offsets = self._uncommitted = {each: after for each, after in self._uncommitted.items() if each in mine}
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._consumer.commit(dict(offsets))
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            # The group has rebalanced, or the broker is unavailable. Another reader of the partition finds these
            # events in the inbox and skips them.
            log.info("commit_refused", group=self._group, error=repr(error))
            return
        self._uncommitted = {}
        if marked := self._unmarked & offsets.keys():
            try:
                await self._positions.mark(self._group, sorted(marked), self._known)
            except INFRASTRUCTURE_FAULTS as error:
                # Retried with the next commit.
                log.info("positions_not_marked", group=self._group, error=repr(error))
            else:
                self._unmarked -= marked

    def _retry_later(self, partition: TopicPartition, offset: int, after_s: float) -> None:
        """Pause the partition and fetch it again from `offset`, as nothing was committed; the others continue."""
        try:
            self._consumer.pause(partition)
            self._consumer.seek(partition, offset)
        except IllegalStateError:
            log.info("partition_gone", topic=partition.topic, partition=partition.partition)
            return
        self._resume_at[partition] = time.monotonic() + after_s

    def _wait_ms(self) -> int:
        """Return how long to wait for records: at most until the next paused partition is due."""
        due_ms = [ceil(1000 * (at - time.monotonic())) for at in self._resume_at.values()]
        return max(1, min([FETCH_WAIT_MS, *due_ms]))

    def _resume_due(self) -> None:
        now = time.monotonic()
        for partition in [partition for partition, at in self._resume_at.items() if at <= now]:
            del self._resume_at[partition]
            self.active_at[partition] = now
            try:
                self._consumer.resume(partition)
            except IllegalStateError:
                log.info("partition_gone", topic=partition.topic, partition=partition.partition)
