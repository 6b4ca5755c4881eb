"""The events of a topic that a consumer cannot handle: parked, retried, refused and given up."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from shared.chassis import telemetry
from shared.chassis.errors import ForgedError, NewerVersionError, PoisonError
from shared.chassis.events.decoding import NOBODY, Received, bounded
from shared.chassis.events.outbox import insert_outgoing
from shared.chassis.events.parked_rows import (
    State,
    dead_letter,
    insert_parked,
    list_heads,
    list_newer,
    parked_row,
    put_off,
    put_off_uncounted,
    set_state,
)
from shared.chassis.infrastructure_faults import is_infrastructure
from shared.chassis.postgres import Connection, Database

FIRST_RETRY = timedelta(seconds=1)
LONGEST_RETRY = timedelta(minutes=5)
RETRY_OF_INFRASTRUCTURE = timedelta(seconds=5)

log = structlog.get_logger()


class Aside:
    """The parked events of one topic and consumer. `halts`: a key waits for a person where one is given up."""

    def __init__(self, database: Database, consumer: str, topic: str, *, halts: bool, attempts: int) -> None:
        self._database = database
        self._consumer = consumer
        self._topic = topic
        self._halts = halts
        self._attempts = attempts

    def stops_its_key(self, one: Received) -> bool:
        """Whether what comes after it waits for a person: not where it is forged, or names nobody."""
        return bool(one.needs_version) or (self._halts and one.user_id != NOBODY and not one.is_forged)

    async def refuse(self, connection: Connection, refused: Sequence[Received]) -> None:
        """What can never be handled, to the dead letters at once; what is too new waits for the upgrade."""
        if not refused:
            return
        states: list[State] = ["HALTED" if self.stops_its_key(one) else "DEAD" for one in refused]
        rows = [
            parked_row(self._consumer, one, one.fault, state) for one, state in zip(refused, states, strict=True)
        ]
        new = await insert_parked(connection, rows)
        fresh = [one for one, row in zip(refused, rows, strict=True) if row.event_id in new]
        letters = [dead_letter(self._consumer, one, one.fault, 1) for one in fresh if not one.needs_version]
        await insert_outgoing(connection, letters)
        telemetry.EVENTS_PARKED.labels(self._topic).inc(len(new))
        for one in fresh:
            self._alarm(one)

    async def park(self, one: Received, error: Exception) -> None:
        """With its key, to be tried again; at once to the dead letters where that is in vain."""
        async with self._database.tenants([one.user_id, NOBODY]) as connection:
            if isinstance(error, PoisonError):
                await self.refuse(connection, [one.refused(str(error), is_forged=isinstance(error, ForgedError))])
                return
            await insert_parked(connection, [parked_row(self._consumer, one, reason_of(error))])
        log.error("event_parked", topic=self._topic, event_id=str(one.event_id), exc_info=error)
        telemetry.EVENTS_PARKED.labels(self._topic).inc()

    async def park_behind(self, connection: Connection, behind: Sequence[Received]) -> None:
        rows = [parked_row(self._consumer, one, "waits behind an earlier one") for one in behind]
        await insert_parked(connection, rows)

    async def list_due(self) -> list[tuple[int, int]]:
        async with self._database.queue() as connection:
            return await list_heads(connection, self._consumer, self._topic)

    async def put_off(self, user_id: int, parked_id: int, error: Exception) -> None:
        """Tried in vain: again later, or given up."""
        reason = reason_of(error)
        async with self._database.tenants([user_id, NOBODY]) as connection:
            if is_infrastructure(error):
                await put_off_uncounted(connection, user_id, parked_id, reason, RETRY_OF_INFRASTRUCTURE)
                return
            done = await put_off(connection, user_id, parked_id, reason, FIRST_RETRY, LONGEST_RETRY)
            if done is None:
                return
            row, attempts = done
            if isinstance(error, NewerVersionError):
                await set_state(connection, user_id, parked_id, "HALTED", error.version)
                return
            if attempts < self._attempts and not isinstance(error, PoisonError):
                return
            log.error("event_given_up", topic=self._topic, event_id=str(row.event_id), reason=reason)
            given_up = row.received(None).refused(reason, is_forged=isinstance(error, ForgedError))
            await insert_outgoing(connection, [dead_letter(self._consumer, given_up, reason, attempts)])
            state: State = "HALTED" if self.stops_its_key(given_up) else "DEAD"
            await set_state(connection, user_id, parked_id, state, None)

    def _alarm(self, one: Received) -> None:
        where = {"topic": one.topic, "partition": one.partition, "offset": one.offset, "reason": one.fault}
        if one.needs_version:
            telemetry.EVENTS_TOO_NEW.labels(self._topic).inc()
            log.error("newer_version", **where)
        elif one.is_forged:
            telemetry.EVENTS_FORGED.labels(self._topic).inc()
            log.error("event_forged", **where)
        else:
            log.error("event_poisoned", **where)


async def parked_for_upgrade(database: Database) -> list[str]:
    """What a service has parked because it is newer than its program, for its readiness."""
    async with database.queue() as connection:
        newer = await list_newer(connection)
    return [
        f"{topic}: version {version} is newer than this program, keys parked: {keys}"
        for topic, keys, version in newer
    ]


def reason_of(error: Exception) -> str:
    return bounded(str(error) if isinstance(error, PoisonError | NewerVersionError) else f"{error!r:.500}", 500)
