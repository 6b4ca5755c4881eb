"""Each event has its effect once, in order per key; what cannot be worked waits aside with its key."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Generic, TypeVar
from uuid import UUID

import structlog
from aiokafka.errors import KafkaError

from shared.chassis import telemetry
from shared.chassis.decoding import NOBODY, Received, decode
from shared.chassis.errors import PoisonError
from shared.chassis.outbox import OutboxRow, insert_outgoing
from shared.chassis.parking import (
    ParkedRow,
    State,
    find_keys_with_parked,
    insert_parked,
    parked_row,
    without_nul,
)
from shared.chassis.points import point
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.contracts.envelope import Event
from shared.contracts.types import new_id

E = TypeVar("E", bound=Event)

ATTEMPTS = 10
FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(minutes=5)

log = structlog.get_logger()


class Inbox(Generic[E]):
    """One topic's way into one service."""

    def __init__(
        self,
        database: Database,
        consumer: str,
        event: type[E],
        handle: Callable[[Connection, Sequence[E]], Awaitable[None]],
    ) -> None:
        self._database = database
        self._consumer = consumer
        self._event = event
        self._handle = handle
        self.topic = event.topic

    async def work(self, received: list[Received]) -> None:
        """All in one transaction; where one of them fails, in halves, until the failing one is found and parked.

        Raises only faults of the infrastructure, after which the rest of the batch has not happened.
        """
        try:
            await self._work_together(received)
        except (*INFRASTRUCTURE_FAULTS, KafkaError):
            raise
        except Exception as error:
            if len(received) == 1:
                log.exception("event_parked", topic=self.topic, event_id=str(received[0].event_id))
                await self._park(received[0], error)
                return
            log.warning("batch_split", topic=self.topic, events=len(received), error=repr(error))
            middle = len(received) // 2
            await self.work(received[:middle])
            await self.work(received[middle:])

    async def _park(self, one: Received, error: Exception) -> None:
        async with self._database.tenants([one.user_id, NOBODY]) as connection:
            await insert_parked(connection, [parked_row(self._consumer, one, _reason(error))])
        telemetry.EVENTS_PARKED.labels(one.topic).inc()

    async def _work_together(self, received: list[Received]) -> None:
        async with self._database.tenants([NOBODY, *(one.user_id for one in received)]) as connection:
            waiting = await find_keys_with_parked(
                connection, self._consumer, self._event.topic, {one.key for one in received}
            )
            ready, behind, poison = _sort(received, waiting, halts=self._halts)
            await self._set_aside(connection, poison)
            await insert_parked(
                connection, [parked_row(self._consumer, one, "waits behind an earlier one") for one in behind]
            )
            fresh = await self._new_to_the_inbox(connection, ready)
            point("inbox.after_rows")
            if fresh:
                telemetry.carry_on({one.user_id: one.headers.get("traceparent", "") for one in ready})
                await self._handle(connection, fresh)
            point("inbox.after_effect")
        telemetry.EVENTS_CONSUMED.labels(self._event.topic).inc(len(fresh))
        telemetry.EVENTS_DUPLICATE.labels(self._event.topic).inc(len(ready) - len(fresh))

    @property
    def _halts(self) -> bool:
        return self._event.on_poison == "halt"

    async def _set_aside(self, connection: Connection, poison: Sequence[Received]) -> None:
        """To the dead letters at once; on a topic that halts, the key then waits for a person."""
        if not poison:
            return
        rows = []
        for one in poison:
            state: State = "HALTED" if self._halts and one.user_id != NOBODY else "DEAD"
            rows.append((parked_row(self._consumer, one, without_nul(one.fault), state), one))
        new = await insert_parked(connection, [row for row, _ in rows])
        await insert_outgoing(
            connection,
            [dead_letter(self._consumer, one, one.fault, 1) for row, one in rows if row.event_id in new],
        )
        telemetry.EVENTS_PARKED.labels(self._event.topic).inc(len(new))
        log.error("events_poisoned", topic=self._event.topic, reasons=sorted({one.fault for one in poison}))

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
            telemetry.EVENTS_ALTERED.labels(self._event.topic).inc()
            log.error("event_altered", topic=self._event.topic, event_id=str(event_id))
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

    async def retry_parked(self) -> int:
        """Try the head of every waiting key whose time has come; the number of events that got through."""
        async with self._database.queue() as connection:
            heads = await connection.fetch(
                """
                SELECT user_id, id FROM (
                    SELECT DISTINCT ON (key) user_id, id, state, next_attempt_at FROM parked
                    WHERE consumer = $1 AND topic = $2 AND state IN ('WAITING', 'HALTED') ORDER BY key, id
                ) AS head
                WHERE state = 'WAITING' AND next_attempt_at <= now() LIMIT 100
                """,
                self._consumer,
                self._event.topic,
            )
        return sum([await self._retry(head["user_id"], head["id"]) for head in heads])

    async def _retry(self, user_id: int, parked_id: int) -> bool:
        point("parked.before_retry")
        try:
            async with self._database.tenants([user_id, NOBODY]) as connection:
                row = await connection.fetchrow(
                    "DELETE FROM parked WHERE user_id = $1 AND id = $2 AND state = 'WAITING' RETURNING *",
                    user_id,
                    parked_id,
                )
                if row is None:
                    return False
                parked = ParkedRow.of(row)
                event = decode(parked.topic, parked.key, parked.payload, parked.headers)
                fresh = await self._new_to_the_inbox(connection, [parked.received(event)])
                if fresh:
                    telemetry.carry_on({user_id: parked.headers.get("traceparent", "")})
                    await self._handle(connection, fresh)
                point("parked.after_effect")
        except (*INFRASTRUCTURE_FAULTS, KafkaError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one event does, the others go on
            await self._put_off(user_id, parked_id, _reason(error), never=isinstance(error, PoisonError))
            return False
        return True

    async def _put_off(self, user_id: int, parked_id: int, reason: str, *, never: bool) -> None:
        async with self._database.tenants([user_id, NOBODY]) as connection:
            row = await connection.fetchrow(
                """
                UPDATE parked SET attempts = attempts + 1, reason = $3,
                       next_attempt_at = now() + least($4::interval * 2 ^ least(attempts, 20), $5)
                WHERE user_id = $1 AND id = $2 AND state = 'WAITING' RETURNING *
                """,
                user_id,
                parked_id,
                reason,
                FIRST_RETRY,
                LONGEST_RETRY,
            )
            if row is None or (row["attempts"] < ATTEMPTS and not never):
                return
            parked = ParkedRow.of(row)
            log.error("event_given_up", topic=parked.topic, event_id=str(parked.event_id), reason=reason)
            await insert_outgoing(
                connection, [dead_letter(self._consumer, parked.received(None), reason, row["attempts"])]
            )
            await connection.execute(
                "UPDATE parked SET state = $3 WHERE user_id = $1 AND id = $2",
                user_id,
                parked_id,
                "HALTED" if self._halts else "DEAD",
            )


def _reason(error: Exception) -> str:
    return without_nul(f"{error!r:.500}")


def _sort(
    received: Sequence[Received], waiting: Collection[str], *, halts: bool
) -> tuple[list[Received], list[Received], list[Received]]:
    """What can be worked, what waits behind an earlier one of its key, and what never can be.

    Poison stops its key where the topic halts; where it skips, and where the key is nobody's, the key goes on.
    """
    ready: list[Received] = []
    behind: list[Received] = []
    poison: list[Received] = []
    stopped = set(waiting)
    for one in received:
        if one.event is None:
            poison.append(one)
            if halts and one.user_id != NOBODY:
                stopped.add(one.key)
        elif one.key in stopped:
            behind.append(one)
        else:
            ready.append(one)
    return ready, behind, poison


def dead_letter(consumer: str, one: Received, reason: str, attempts: int) -> OutboxRow:
    """The message as it came, with why it was given up; sent by the outbox like everything else."""
    headers = {
        **one.headers,
        "dlq_reason": reason,
        "dlq_group": consumer,
        "dlq_attempts": str(attempts),
        "dlq_topic": one.topic,
        "dlq_partition": str(one.partition),
        "dlq_offset": str(one.offset),
    }
    headers = {name: without_nul(value) for name, value in headers.items()}
    return OutboxRow(one.user_id, f"{one.topic}.dlq", without_nul(one.key), str(new_id()), headers, one.payload)
