"""Each event has its effect once, in order per key; what cannot be handled is parked with its key."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Generic, TypeVar
from uuid import UUID

import structlog

from shared.chassis import telemetry
from shared.chassis.crash_points import point
from shared.chassis.events.decoding import NOBODY, Received, decode
from shared.chassis.events.parked_rows import ParkedRow, delete_waiting, find_keys_with_parked, find_waiting
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.events.unhandled import Aside
from shared.chassis.identity import VouchedUsers
from shared.chassis.infrastructure_faults import is_infrastructure
from shared.chassis.postgres import Connection, Database
from shared.contracts.envelope import Event, Message

E = TypeVar("E", bound=Event)
M = TypeVar("M", bound=Message)

ATTEMPTS = 10
MARKET_ATTEMPTS = 5  # what a candle would have brought is repaired from the history
PATIENCE = 5  # faults of the infrastructure in a row, before it is asked whether they meet one key only

log = structlog.get_logger()


class Intake(ABC, Generic[M]):
    """One topic's way into one consumer."""

    def __init__(self, database: Database, consumer: str, event: type[M], aside: Aside) -> None:
        self._database = database
        self._consumer = consumer
        self._event = event
        self._aside = aside
        self._in_vain = 0
        self.topic = event.topic

    @abstractmethod
    async def _work_together(self, received: list[Received]) -> None:
        """All of them, or none where it raises."""

    @abstractmethod
    async def _retry_once(self, user_id: int, parked_id: int) -> bool:
        """The head of a parked key; False where it is gone."""

    async def work(self, received: list[Received]) -> None:
        """Raises only faults of the infrastructure, after which the rest of the batch has not happened.

        Where these go on, while events of other keys get through, the one key that meets them is parked.
        """
        try:
            await self._work_in_halves(received)
        except Exception:
            self._in_vain += 1
            if self._in_vain <= PATIENCE:
                raise
            await self._work_by_key(received)
        self._in_vain = 0

    async def _work_in_halves(self, received: list[Received]) -> None:
        """Together; where one of them fails, in halves, until the failing one is found and parked."""
        try:
            await self._work_together(received)
        except Exception as error:
            if is_infrastructure(error):
                raise
            if len(received) == 1:
                await self._aside.park(received[0], error)
                return
            log.warning("batch_split", topic=self.topic, events=len(received), error=repr(error))
            middle = len(received) // 2
            await self._work_in_halves(received[:middle])
            await self._work_in_halves(received[middle:])

    async def _work_by_key(self, received: list[Received]) -> None:
        """Raises where a second key meets a fault of the infrastructure: then it is one."""
        failing: list[Received] = []
        fault: Exception | None = None
        for of_key in _by_key(received):
            try:
                await self._work_in_halves(of_key)
            except Exception as error:
                if fault is not None:
                    raise
                failing, fault = of_key, error
        if fault is not None:
            await self._aside.park(failing[0], fault)
            await self._work_in_halves(failing)

    async def park(self, one: Received, error: Exception) -> None:
        """For a caller that handles events itself."""
        await self._aside.park(one, error)

    async def retry_parked(self) -> int:
        """Try the head of every waiting key whose time has come; the number of events that got through."""
        return sum([await self._retry(user_id, parked_id) for user_id, parked_id in await self._aside.list_due()])

    async def _retry(self, user_id: int, parked_id: int) -> bool:
        point("parked.before_retry")
        try:
            return await self._retry_once(user_id, parked_id)
        except Exception as error:  # noqa: BLE001 - whatever one event does, the others go on
            await self._aside.put_off(user_id, parked_id, error)
            return False


class Inbox(Intake[E]):
    """Of a topic of users: the events new to the inbox to the handler, in the transaction of their rows in it."""

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
            database, consumer, event, Aside(database, consumer, event.topic, halts=halts, attempts=ATTEMPTS)
        )
        self._handle = handle
        self._versioned = versioned
        self._users = VouchedUsers()

    async def _work_together(self, received: list[Received]) -> None:
        async with self._database.tenants([NOBODY, *(one.user_id for one in received)]) as connection:
            keys = {one.waits_with for one in received}
            waiting = await find_keys_with_parked(connection, self._consumer, self.topic, keys)
            ready, behind, refused = _sort(received, waiting, self._aside.stops_its_key)
            await self._aside.refuse(connection, refused)
            await self._aside.park_behind(connection, behind)
            fresh = await self._new_to_the_inbox(connection, ready)
            point("inbox.after_rows")
            if fresh:
                telemetry.carry_on({one.user_id: one.headers.get("traceparent", "") for one in ready})
                await self._apply(connection, fresh)
            point("inbox.after_effect")
        telemetry.EVENTS_CONSUMED.labels(self.topic).inc(len(fresh))
        telemetry.EVENTS_DUPLICATE.labels(self.topic).inc(len(ready) - len(fresh))

    async def _retry_once(self, user_id: int, parked_id: int) -> bool:
        async with self._database.tenants([user_id, NOBODY]) as connection:
            parked = await delete_waiting(connection, user_id, parked_id)
            if parked is None:
                return False
            fresh = await self._new_to_the_inbox(connection, [parked.received(_decoded(parked))])
            if fresh:
                telemetry.carry_on({user_id: parked.headers.get("traceparent", "")})
                await self._apply(connection, fresh)
            point("parked.after_effect")
        return True

    async def _apply(self, connection: Connection, fresh: Sequence[E]) -> None:
        """Raises ForgedError for what contradicts what is known of its user."""
        await self._users.check(connection, fresh)
        if self._versioned is not None:
            await self._versioned.refuse_leaps(connection, fresh)
        await self._handle(connection, fresh)

    async def _new_to_the_inbox(self, connection: Connection, received: Sequence[Received]) -> list[E]:
        first: dict[UUID, Received] = {}
        altered: set[UUID] = set()
        for one in received:
            assert one.event_id is not None, "an event without an id is poison"
            if first.setdefault(one.event_id, one).body_sha256() != one.body_sha256():
                altered.add(one.event_id)
        written = {
            row["event_id"]
            for row in await connection.fetch(
                """
                INSERT INTO inbox (user_id, consumer, event_id, body_sha256)
                SELECT user_id, $1, event_id, body FROM unnest($2::bigint[], $3::uuid[], $4::bytea[])
                       AS new (user_id, event_id, body)
                ON CONFLICT DO NOTHING RETURNING event_id
                """,
                self._consumer,
                [one.user_id for one in first.values()],
                list(first),
                [one.body_sha256() for one in first.values()],
            )
        }
        altered |= await self._find_altered(
            connection, [one for event_id, one in first.items() if event_id not in written]
        )
        for event_id in altered:
            telemetry.EVENTS_ALTERED.labels(self.topic).inc()
            log.error("event_altered", topic=self.topic, event_id=str(event_id))
        return [
            one.event
            for event_id, one in first.items()
            if event_id in written and isinstance(one.event, self._event)
        ]

    async def _find_altered(self, connection: Connection, known: Sequence[Received]) -> set[UUID]:
        """Ids that came once more with another body: an alarm, and no effect."""
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
            [one.user_id for one in known],
            [one.event_id for one in known],
            [one.body_sha256() for one in known],
        )
        return {row["event_id"] for row in rows}


class MarketInbox(Intake[M]):
    """Of a market topic: all events to the handler, which opens its own transactions and may see one again.

    With `in_order` a series waits behind its parked event. Readers of state that comes whole do without.
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
            Aside(database, consumer, event.topic, halts=False, attempts=MARKET_ATTEMPTS),
        )
        self._handle = handle
        self._in_order = in_order

    async def _work_together(self, received: list[Received]) -> None:
        ready = await self.take(received)
        events = [one.event for one in ready if isinstance(one.event, self._event)]
        events.sort(key=lambda event: event.key())  # a stable sort
        for _, of_key in groupby(events, key=lambda event: event.key()):
            await self._handle(list(of_key))
        telemetry.EVENTS_CONSUMED.labels(self.topic).inc(len(ready))

    async def take(self, received: Sequence[Received]) -> list[Received]:
        """Those that can be handled; the others are set aside."""
        if not self._in_order and all(one.event is not None for one in received):
            return list(received)
        async with self._database.tenants([NOBODY]) as connection:
            keys = {one.waits_with for one in received} if self._in_order else set()
            waiting = await find_keys_with_parked(connection, self._consumer, self.topic, keys)
            stops = self._aside.stops_its_key if self._in_order else _never
            ready, behind, refused = _sort(received, waiting, stops)
            await self._aside.refuse(connection, refused)
            await self._aside.park_behind(connection, behind)
        return ready

    async def _retry_once(self, user_id: int, parked_id: int) -> bool:
        """Handled twice at worst, as it may be seen again anyway."""
        async with self._database.tenants([NOBODY]) as connection:
            parked = await find_waiting(connection, user_id, parked_id)
        if parked is None:
            return False
        event = _decoded(parked)
        assert isinstance(event, self._event), "parked under its own topic"
        await self._handle([event])
        async with self._database.tenants([NOBODY]) as connection:
            return await delete_waiting(connection, user_id, parked_id) is not None


def _decoded(parked: ParkedRow) -> Message:
    """Raises PoisonError, NewerVersionError."""
    event = decode(parked.topic, parked.kafka_key, parked.payload, parked.headers)
    if parked.is_replayed:
        event.note_replayed()
    return event


def _never(_: Received) -> bool:
    return False


def _by_key(received: Sequence[Received]) -> list[list[Received]]:
    in_order = sorted(received, key=lambda one: one.waits_with)  # a stable sort
    return [list(of_key) for _, of_key in groupby(in_order, key=lambda one: one.waits_with)]


def _sort(
    received: Sequence[Received], waiting: set[str], stops_its_key: Callable[[Received], bool]
) -> tuple[list[Received], list[Received], list[Received]]:
    """What can be handled, what waits behind an earlier one of its key, and what cannot be handled."""
    ready: list[Received] = []
    behind: list[Received] = []
    refused: list[Received] = []
    stopped = set(waiting)
    for one in received:
        if one.event is None:
            refused.append(one)
            if stops_its_key(one):
                stopped.add(one.waits_with)
        elif one.waits_with in stopped:
            behind.append(one)
        else:
            ready.append(one)
    return ready, behind, refused
