"""Parks, retries, refuses and gives up the events that a consumer cannot handle."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from shared.chassis import telemetry
from shared.chassis.errors import ForgedError, NewerVersionError, PoisonError
from shared.chassis.events.decoding import Received, bounded
from shared.chassis.events.outbox import insert_outgoing
from shared.chassis.events.parked_rows import (
    State,
    dead_letter,
    insert_parked,
    list_heads,
    list_newer,
    parked_row,
    schedule_retry,
    schedule_uncounted_retry,
    set_state,
)
from shared.chassis.infrastructure_faults import is_infrastructure
from shared.chassis.postgres import Connection, Database
from shared.contracts.envelope import NOBODY

FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(minutes=5)
RETRY_OF_INFRASTRUCTURE = timedelta(seconds=5)

log = structlog.get_logger()


class ParkedEvents:
    """The parked events of one topic and consumer. With `halts`, a key whose event is given up waits for an
    operator."""

    def __init__(self, database: Database, consumer: str, topic: str, *, halts: bool, attempts: int) -> None:
        self._database = database
        self._consumer = consumer
        self._topic = topic
        self._halts = halts
        self._attempts = attempts

    def blocks_its_key(self, record: Received) -> bool:
        """Return whether later events of its key must wait if it is refused. Forged events and events without a
        tenant do not block their key; events newer than this program always do."""
        return bool(record.needs_version) or (self._halts and record.user_id != NOBODY and not record.is_forged)

    async def refuse(self, connection: Connection, refused: Sequence[Received]) -> None:
        """Send events that can never be handled to the dead letters at once; those that are too new wait for the
        upgrade."""
        if not refused:
            return
        states: list[State] = ["HALTED" if self.blocks_its_key(record) else "DEAD" for record in refused]
        rows = [
            parked_row(self._consumer, record, record.fault, state)
            for record, state in zip(refused, states, strict=True)
        ]
        new = await insert_parked(connection, rows)
        fresh = [record for record, row in zip(refused, rows, strict=True) if row.event_id in new]
        letters = [
            dead_letter(self._consumer, record, record.fault, 1) for record in fresh if not record.needs_version
        ]
        await insert_outgoing(connection, letters)
        telemetry.EVENTS_PARKED.labels(self._topic).inc(len(new))
        for record in fresh:
            self._alarm(record)

    async def park(self, record: Received, error: Exception) -> None:
        """Park the record, so that it is retried and its key waits; poison goes to the dead letters at once."""
        async with self._database.tenants([record.user_id, NOBODY]) as connection:
            if isinstance(error, PoisonError):
                await self.refuse(
                    connection, [record.with_fault(str(error), is_forged=isinstance(error, ForgedError))]
                )
                return
            await insert_parked(connection, [parked_row(self._consumer, record, reason_of(error))])
        log.error("event_parked", topic=self._topic, event_id=str(record.event_id), exc_info=error)
        telemetry.EVENTS_PARKED.labels(self._topic).inc()

    async def park_behind(self, connection: Connection, behind: Sequence[Received]) -> None:
        rows = [parked_row(self._consumer, record, "waits behind an earlier event") for record in behind]
        await insert_parked(connection, rows)

    async def list_due(self) -> list[tuple[int, int]]:
        return await list_heads(self._database, self._consumer, self._topic)

    async def schedule_retry(self, user_id: int, parked_id: int, error: Exception) -> None:
        """Schedule the next retry after a failed one, or give the event up."""
        reason = reason_of(error)
        async with self._database.tenants([user_id, NOBODY]) as connection:
            if is_infrastructure(error):
                await schedule_uncounted_retry(connection, user_id, parked_id, reason, RETRY_OF_INFRASTRUCTURE)
                return
            done = await schedule_retry(connection, user_id, parked_id, reason, FIRST_RETRY, LONGEST_RETRY)
            if done is None:
                return
            row, attempts = done
            if isinstance(error, NewerVersionError):
                await set_state(connection, user_id, parked_id, "HALTED", error.version)
                return
            if attempts < self._attempts and not isinstance(error, PoisonError):
                return
            log.error("event_given_up", topic=self._topic, event_id=str(row.event_id), reason=reason)
            given_up = row.received(None).with_fault(reason, is_forged=isinstance(error, ForgedError))
            await insert_outgoing(connection, [dead_letter(self._consumer, given_up, reason, attempts)])
            state: State = "HALTED" if self.blocks_its_key(given_up) else "DEAD"
            await set_state(connection, user_id, parked_id, state, None)

    def _alarm(self, record: Received) -> None:
        where = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "reason": record.fault,
        }
        if record.needs_version:
            telemetry.EVENTS_TOO_NEW.labels(self._topic).inc()
            log.error("newer_version", **where)
        elif record.is_forged:
            telemetry.EVENTS_FORGED.labels(self._topic).inc()
            log.error("event_forged", **where)
        else:
            log.error("event_poisoned", **where)


async def parked_for_upgrade(database: Database) -> list[str]:
    """List the events parked because they are newer than this program, for `/readyz`."""
    async with database.queue() as connection:
        newer = await list_newer(connection)
    return [
        f"{topic}: version {version} is newer than this program, keys parked: {keys}"
        for topic, keys, version in newer
    ]


def reason_of(error: Exception) -> str:
    return bounded(str(error) if isinstance(error, PoisonError | NewerVersionError) else f"{error!r:.500}", 500)
