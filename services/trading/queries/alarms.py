"""Alarms of running sessions: the marks on their leases, and the sequence numbers of the alarm events."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.trading.domain import Waiting
from services.trading.queries.sessions import SessionLease
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of, insert_rows


@dataclass(frozen=True)
class AlarmedRow:
    """A session as its alarm event names it; `event_seq` is the event's number."""

    user_id: int
    session_id: UUID
    public_id: UUID
    symbol: str
    event_seq: int


class NewIncident(NamedTuple):
    """What happened to a session's orders; the first of a key counts."""

    user_id: int
    session_id: UUID
    key: str
    kind: str
    detail: Mapping[str, str]


INSERT_INCIDENTS = insert_rows("session_incidents", NewIncident)


async def insert_incidents(connection: Connection, incidents: Sequence[NewIncident]) -> list[NewIncident]:
    """Insert incidents; returns those that are new."""
    rows = await connection.fetch(
        f"{INSERT_INCIDENTS} ON CONFLICT DO NOTHING RETURNING {', '.join(NewIncident._fields)}",
        *arrays_of(incidents),
    )
    return [NewIncident(*row) for row in rows]


async def lock_leases(connection: Connection, leases: Sequence[SessionLease], *, silent: bool) -> list[UUID]:
    """Lock leases still held under this epoch that are marked as silent or, if not `silent`, are not.

    Returns their sessions.
    """
    rows = await connection.fetch(
        """
        SELECT session_id FROM session_leases
        JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS mine (user_id, session_id, epoch)
             USING (user_id, session_id, epoch)
        WHERE (silent_since IS NOT NULL) = $4
        ORDER BY user_id, session_id FOR UPDATE OF session_leases
        """,
        *_columns(leases),
        silent,
    )
    return [row["session_id"] for row in rows]


async def set_silent(
    connection: Connection, users: Collection[int], session_ids: Sequence[UUID], since: datetime | None
) -> None:
    await connection.execute(
        """
        UPDATE session_leases SET silent_since = $3
        WHERE user_id = ANY ($1::bigint[]) AND session_id = ANY ($2::uuid[])
        """,
        users,
        session_ids,
        since,
    )


@dataclass(frozen=True)
class AwaitingRow:
    """A session whose next bar is overdue."""

    session_id: UUID
    start_time: datetime
    last_bar: datetime | None
    interval: str


async def list_awaiting(
    connection: Connection, users: Collection[int], session_ids: Sequence[UUID]
) -> list[AwaitingRow]:
    rows = await connection.fetch(
        """
        SELECT s.session_id, s.start_time, c.last_bar, s.interval
        FROM user_trading_sessions AS s JOIN session_cursors AS c USING (user_id, session_id)
        WHERE user_id = ANY ($1::bigint[]) AND session_id = ANY ($2::uuid[])
        """,
        users,
        session_ids,
    )
    return [AwaitingRow(**row) for row in rows]


async def mark_waiting(connection: Connection, waits: Sequence[tuple[SessionLease, Waiting]]) -> list[UUID]:
    """Mark leases that are still held under this epoch and not marked yet; return the sessions marked now."""
    rows = await connection.fetch(
        """
        UPDATE session_leases AS l
        SET waiting_for = new.what, waiting_since = new.since, waiting_expected = new.expected
        FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[])
             AS new (user_id, session_id, epoch, what, since, expected)
        WHERE l.user_id = new.user_id AND l.session_id = new.session_id AND l.epoch = new.epoch
              AND l.waiting_for IS NULL
        RETURNING l.session_id
        """,
        *_columns([lease for lease, _ in waits]),
        [waiting.what for _, waiting in waits],
        [waiting.since for _, waiting in waits],
        [waiting.expected_at for _, waiting in waits],
    )
    return [row["session_id"] for row in rows]


async def clear_waiting(connection: Connection, leases: Sequence[SessionLease]) -> list[UUID]:
    """Clear the mark of leases that are still held under this epoch; return the sessions that were marked."""
    rows = await connection.fetch(
        """
        UPDATE session_leases AS l SET waiting_for = NULL, waiting_since = NULL, waiting_expected = NULL
        FROM unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS mine (user_id, session_id, epoch)
        WHERE l.user_id = mine.user_id AND l.session_id = mine.session_id AND l.epoch = mine.epoch
              AND l.waiting_for IS NOT NULL
        RETURNING l.session_id
        """,
        *_columns(leases),
    )
    return [row["session_id"] for row in rows]


async def is_feed_led(connection: Connection) -> bool:
    led: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM feed_lease WHERE expires_at > now())")
    return led


async def mark_failed(connection: Connection, lease: SessionLease, since: datetime) -> bool:
    """Mark the session as failed; returns False if it was already or if the lease is lost."""
    row = await connection.fetchval(
        """
        UPDATE session_leases SET failed_at = $4
        WHERE user_id = $1 AND session_id = $2 AND epoch = $3 AND failed_at IS NULL RETURNING 1
        """,
        lease.user_id,
        lease.session_id,
        lease.epoch,
        since,
    )
    return row is not None


async def insert_restrictions(
    connection: Connection, users: Collection[int], session_ids: Sequence[UUID], kind: str
) -> None:
    """Insert a restriction for each session, after its last bar. The caller has locked the leases."""
    await connection.execute(
        """
        INSERT INTO session_restrictions (user_id, session_id, restriction_number, kind, after_bar)
        SELECT c.user_id, c.session_id, 1 + coalesce((
                   SELECT max(r.restriction_number) FROM session_restrictions r
                   WHERE r.user_id = c.user_id AND r.session_id = c.session_id), 0), $3, c.last_bar
        FROM session_cursors c WHERE c.user_id = ANY ($1::bigint[]) AND c.session_id = ANY ($2::uuid[])
        """,
        users,
        session_ids,
        kind,
    )


async def increment_event_seq(
    connection: Connection, users: Collection[int], session_ids: Sequence[UUID]
) -> list[AlarmedRow]:
    """Increment each session's event number and return the rows for its event."""
    rows = await connection.fetch(
        """
        UPDATE user_trading_sessions SET event_seq = event_seq + 1
        WHERE user_id = ANY ($1::bigint[]) AND session_id = ANY ($2::uuid[])
        RETURNING user_id, session_id, public_id, symbol, event_seq
        """,
        users,
        session_ids,
    )
    return [AlarmedRow(**row) for row in rows]


def _columns(leases: Sequence[SessionLease]) -> tuple[list[int], list[UUID], list[int]]:
    return (
        [lease.user_id for lease in leases],
        [lease.session_id for lease in leases],
        [lease.epoch for lease in leases],
    )
