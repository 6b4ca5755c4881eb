"""Applies each event once, in order per key; an event that cannot be handled is parked together with its key."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from typing import Generic, TypeVar
from uuid import UUID

import structlog
from aiokafka.errors import KafkaError

from shared.chassis import telemetry
from shared.chassis.crash_points import point
from shared.chassis.events.decoding import Received, decode
from shared.chassis.events.parked_rows import ParkedRow, delete_waiting, find_keys_with_parked, find_waiting
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.events.unhandled import ParkedEvents
from shared.chassis.identity import KnownUsers
from shared.chassis.infrastructure_faults import RETRYABLE_FAULTS, is_infrastructure
from shared.chassis.postgres import Connection, Database
from shared.contracts.envelope import NOBODY, Event, Message

E = TypeVar("E", bound=Event)
M = TypeVar("M", bound=Message)
T = TypeVar("T")

ATTEMPTS = 10
MARKET_ATTEMPTS = 5  # a candle that is given up is repaired from the history
MAX_FAULTS_IN_A_ROW = 5  # infrastructure faults; after more, each key is tried alone: perhaps only one meets them

log = structlog.get_logger()


class Intake(ABC, Generic[M]):
    """Passes the events of one topic to the handler of one consumer, and parks those that fail."""

    def __init__(self, database: Database, consumer: str, event: type[M], parked: ParkedEvents) -> None:
        self._database = database
        self._consumer = consumer
        self._event = event
        self._parked = parked
        self._faults_in_a_row = 0
        self.topic = event.topic

    @abstractmethod
    async def _process_batch(self, received: list[Received]) -> None:
        """Process all records. After a fault the same records are processed again."""

    @abstractmethod
    async def _retry_once(self, user_id: int, parked_id: int) -> bool:
        """Retry the head of a parked key. Returns False if it is gone."""

    async def process(self, received: list[Received]) -> None:
        """Process a batch. Raises only infrastructure faults; the rest of the batch was then not processed.

        If such faults persist for one key while events of other keys succeed, that key is parked.
        """
        try:
            await self._process_in_halves(received)
        except (*RETRYABLE_FAULTS, KafkaError):
            self._faults_in_a_row += 1
            if self._faults_in_a_row <= MAX_FAULTS_IN_A_ROW:
                raise
            await self._process_by_key(received)
        self._faults_in_a_row = 0

    async def _process_in_halves(self, received: list[Received]) -> None:
        """Process the batch together; if that fails, in halves, until the failing record is found and parked."""
        fault = await _result_or_fault(self._process_batch(received))
        if fault is None:
            return
        if is_infrastructure(fault):
            raise fault
        if len(received) == 1:
            await self._parked.park(received[0], fault)
            return
        log.warning("batch_split", topic=self.topic, events=len(received), error=repr(fault))
        middle = len(received) // 2
        await self._process_in_halves(received[:middle])
        await self._process_in_halves(received[middle:])

    async def _process_by_key(self, received: list[Received]) -> None:
        """Process key by key. Raises if a second key meets a fault, which is then the infrastructure's."""
        failing: list[Received] = []
        fault: Exception | None = None
        for same_key in _by_key(received):
            try:
                await self._process_in_halves(same_key)
            except (*RETRYABLE_FAULTS, KafkaError) as error:
                if fault is not None:
                    raise
                failing, fault = same_key, error
        if fault is not None:
            await self._parked.park(failing[0], fault)
            await self._process_in_halves(failing)

    async def park(self, record: Received, error: Exception) -> None:
        """Park a record, for callers that handle events themselves."""
        await self._parked.park(record, error)

    async def retry_parked(self) -> int:
        """Retry the head of every waiting key that is due. Returns how many succeeded."""
        return sum([await self._retry(user_id, parked_id) for user_id, parked_id in await self._parked.list_due()])

    async def _retry(self, user_id: int, parked_id: int) -> bool:
        point("parked.before_retry")
        result = await _result_or_fault(self._retry_once(user_id, parked_id))
        if isinstance(result, Exception):
            await self._parked.schedule_retry(user_id, parked_id, result)
            return False
        return result


class Inbox(Intake[E]):
    """The intake of a topic of user events: passes events that are new to the inbox to the handler, in the
    transaction that inserts their inbox rows."""

    def __init__(
        self,
        database: Database,
        consumer: str,
        event: type[E],
        handle: Callable[[Connection, Sequence[E]], Awaitable[None]],
        versioned: Versioned | None = None,
    ) -> None:
        halts = event.on_poison == "halt"
        super().__init__(
            database, consumer, event, ParkedEvents(database, consumer, event.topic, halts=halts, attempts=ATTEMPTS)
        )
        self._handle = handle
        self._versioned = versioned
        self._users = KnownUsers()

    async def _process_batch(self, received: list[Received]) -> None:
        async with self._database.tenants([NOBODY, *(record.user_id for record in received)]) as connection:
            keys = {record.stored_order_key for record in received}
            waiting = await find_keys_with_parked(connection, self._consumer, self.topic, keys)
            ready, behind, refused = _classify(received, waiting, self._parked.blocks_its_key)
            await self._parked.refuse(connection, refused)
            await self._parked.park_behind(connection, behind)
            fresh = await self._insert_new(connection, ready)
            point("inbox.after_rows")
            if fresh:
                telemetry.set_cause_traces(
                    {record.user_id: record.headers.get("traceparent", "") for record in ready}
                )
                await self._apply(connection, fresh)
            point("inbox.after_effect")
        telemetry.EVENTS_CONSUMED.labels(self.topic).inc(len(fresh))
        telemetry.EVENTS_DUPLICATE.labels(self.topic).inc(len(ready) - len(fresh))

    async def _retry_once(self, user_id: int, parked_id: int) -> bool:
        async with self._database.tenants([user_id, NOBODY]) as connection:
            parked = await delete_waiting(connection, user_id, parked_id)
            if parked is None:
                return False
            fresh = await self._insert_new(connection, [parked.received(_decode(parked))])
            if fresh:
                telemetry.set_cause_traces({user_id: parked.headers.get("traceparent", "")})
                await self._apply(connection, fresh)
            point("parked.after_effect")
        return True

    async def _apply(self, connection: Connection, fresh: Sequence[E]) -> None:
        """Check users and versions, then call the handler. Raises ForgedError for an event that contradicts what is
        known of its user."""
        await self._users.check(connection, fresh)
        if self._versioned is not None:
            await self._versioned.check_version_steps(connection, fresh)
        await self._handle(connection, fresh)

    async def _insert_new(self, connection: Connection, received: Sequence[Received]) -> list[E]:
        first: dict[UUID, Received] = {}
        digests: dict[UUID, bytes] = {}
        altered: set[UUID] = set()
        for record in received:
            assert record.event_id is not None, "an event without an id is poison"
            first.setdefault(record.event_id, record)
            digest = record.body_sha256()
            if digests.setdefault(record.event_id, digest) != digest:
                altered.add(record.event_id)
        inserted = {
            row["event_id"]
            for row in await connection.fetch(
                """
                INSERT INTO inbox (user_id, consumer, event_id, body_sha256)
                SELECT user_id, $1, event_id, body FROM unnest($2::bigint[], $3::uuid[], $4::bytea[])
                       AS new (user_id, event_id, body)
                ON CONFLICT DO NOTHING RETURNING event_id
                """,
                self._consumer,
                [record.user_id for record in first.values()],
                list(first),
                list(digests.values()),
            )
        }
        known = {event_id: digest for event_id, digest in digests.items() if event_id not in inserted}
        altered |= await self._find_altered(connection, [first[event_id].user_id for event_id in known], known)
        for event_id in altered:
            telemetry.EVENTS_ALTERED.labels(self.topic).inc()
            log.error("event_altered", topic=self.topic, event_id=str(event_id))
        return [
            record.event
            for event_id, record in first.items()
            if event_id in inserted and isinstance(record.event, self._event)
        ]

    async def _find_altered(
        self, connection: Connection, users: Sequence[int], known: Mapping[UUID, bytes]
    ) -> set[UUID]:
        """Find ids that were received before with another body: they are logged as errors and have no effect."""
        if not known:
            return set()
        rows = await connection.fetch(
            """
            SELECT event_id FROM inbox
            JOIN unnest($2::bigint[], $3::uuid[], $4::bytea[]) AS again (user_id, event_id, body)
                 USING (user_id, event_id)
            WHERE consumer = $1 AND body_sha256 <> body
            """,
            self._consumer,
            users,
            list(known),
            list(known.values()),
        )
        return {row["event_id"] for row in rows}


class MarketInbox(Intake[M]):
    """The intake of a market topic: passes every event to the handler, which opens its own transactions and may get
    an event more than once.

    With `in_order` a series waits behind its parked event. It is off for events that each carry a whole state.
    """

    def __init__(
        self,
        database: Database,
        consumer: str,
        event: type[M],
        handle: Callable[[Sequence[M]], Awaitable[None]],
        *,
        in_order: bool = True,
    ) -> None:
        super().__init__(
            database,
            consumer,
            event,
            ParkedEvents(database, consumer, event.topic, halts=False, attempts=MARKET_ATTEMPTS),
        )
        self._handle = handle
        self._in_order = in_order

    async def _process_batch(self, received: list[Received]) -> None:
        ready = await self.admit(received)
        events = [record.event for record in ready if isinstance(record.event, self._event)]
        if events:
            await self._handle(events)
        telemetry.EVENTS_CONSUMED.labels(self.topic).inc(len(ready))

    async def admit(self, received: Sequence[Received]) -> list[Received]:
        """Return the records that can be handled; park the others."""
        if not self._in_order and all(record.event is not None for record in received):
            return list(received)
        async with self._database.tenants([NOBODY]) as connection:
            keys = {record.stored_order_key for record in received} if self._in_order else set()
            waiting = await find_keys_with_parked(connection, self._consumer, self.topic, keys)
            stops = self._parked.blocks_its_key if self._in_order else _never
            ready, behind, refused = _classify(received, waiting, stops)
            await self._parked.refuse(connection, refused)
            await self._parked.park_behind(connection, behind)
        return ready

    async def _retry_once(self, user_id: int, parked_id: int) -> bool:
        """Handle the event before deleting it: at worst it is handled twice, which market handlers allow anyway."""
        async with self._database.tenants([NOBODY]) as connection:
            parked = await find_waiting(connection, user_id, parked_id)
        if parked is None:
            return False
        event = _decode(parked)
        assert isinstance(event, self._event), "parked under its own topic"
        await self._handle([event])
        async with self._database.tenants([NOBODY]) as connection:
            return await delete_waiting(connection, user_id, parked_id) is not None


async def _result_or_fault(handling: Awaitable[T]) -> T | Exception:
    """Return the result, or any exception that an event's handler raises: it must not stop the other events."""
    try:
        return await handling
    except Exception as fault:  # noqa: BLE001 - the only place of the consumer loop that catches everything
        return fault


def _decode(parked: ParkedRow) -> Message:
    """Raises PoisonError, NewerVersionError."""
    return decode(parked.topic, parked.kafka_key, parked.payload, parked.headers, is_replayed=parked.is_replayed)


def _never(_: Received) -> bool:
    return False


def _by_key(received: Sequence[Received]) -> list[list[Received]]:
    in_order = sorted(received, key=lambda record: record.stored_order_key)  # a stable sort
    return [list(same_key) for _, same_key in groupby(in_order, key=lambda record: record.stored_order_key)]


def _classify(
    received: Sequence[Received], waiting: set[str], blocks_its_key: Callable[[Received], bool]
) -> tuple[list[Received], list[Received], list[Received]]:
    """Return the records that can be handled, those that wait behind an earlier one of their key, and those that
    cannot be handled."""
    ready: list[Received] = []
    behind: list[Received] = []
    refused: list[Received] = []
    blocked = set(waiting)
    for record in received:
        if record.event is None:
            refused.append(record)
            if blocks_its_key(record):
                blocked.add(record.stored_order_key)
        elif record.stored_order_key in blocked:
            behind.append(record)
        else:
            ready.append(record)
    return ready, behind, refused
