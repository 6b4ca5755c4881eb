"""Rows of failed events, read and changed with the queue role.

Kind `heard`: received but not handled (table `parked`). Kind `unsent`: cannot be published (table `outbox`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import asyncpg

from shared.chassis.events.headers import Headers
from shared.chassis.events.parked_rows import State
from shared.chassis.postgres import Connection
from shared.contracts.catalog import HALTING

Kind: TypeAlias = Literal["heard", "unsent"]
OPEN: tuple[State, ...] = ("WAITING", "HALTED", "DEAD")
NEEDS_OPERATOR: tuple[State, ...] = ("HALTED", "DEAD")
NEIGHBOURS = 10


@dataclass(frozen=True)
class Entry:
    """One event; `id` is unique among those of its kind in one service."""

    kind: Kind
    id: int
    user_id: int
    topic: str
    key: str
    event_id: UUID
    state: State
    reason: str
    attempts: int
    since: datetime

    @classmethod
    def of(cls, row: asyncpg.Record) -> "Entry":
        return cls(*(row[name] for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class DeadLetter:
    """An entry with its message. `ahead` and `behind` count the events of its key that wait before and after it."""

    entry: Entry
    headers: Headers
    payload: bytes
    ahead: int
    behind: int
    next_behind: Sequence[UUID]


@dataclass(frozen=True)
class Filter:
    topic: str | None = None
    key: str | None = None
    states: Collection[State] = OPEN


_HEARD = """
    SELECT 'heard' AS kind, id, user_id, topic, key, event_id, state, reason, attempts, parked_at AS since
    FROM parked
"""
_UNSENT = """
    SELECT 'unsent' AS kind, id, user_id, topic, key, event_id,
           CASE WHEN dropped_at IS NOT NULL THEN 'DROPPED'
                WHEN topic = ANY ($1::text[]) THEN 'HALTED'
                ELSE 'DEAD' END AS state,
           dead_reason AS reason, 1 AS attempts, created_at AS since
    FROM outbox WHERE dead_reason IS NOT NULL
"""


async def list_entries(connection: Connection, which: Filter, limit: int) -> tuple[list[Entry], int]:
    """Return the first `limit` entries, ordered by key, and the total count."""
    rows = await connection.fetch(
        f"""
        SELECT *, count(*) OVER () AS total
        FROM ({_HEARD} UNION ALL {_UNSENT} AND dropped_at IS NULL
              UNION ALL {_UNSENT} AND dropped_at IS NOT NULL AND 'DROPPED' = ANY ($2::text[])) AS entry
        WHERE state = ANY ($2::text[]) AND topic = coalesce($3, topic) AND key = coalesce($4, key)
        ORDER BY topic, key, kind, id LIMIT $5
        """,
        list(HALTING),
        list(which.states),
        which.topic,
        which.key,
        limit,
    )
    return [Entry.of(row) for row in rows], rows[0]["total"] if rows else 0


async def find_entry(connection: Connection, kind: Kind, number: int) -> Entry | None:
    """Find an entry in any state; None if it does not exist or has been handled or sent."""
    if kind == "heard":
        row = await connection.fetchrow(f"{_HEARD} WHERE id = $1", number)
    else:
        row = await connection.fetchrow(f"{_UNSENT} AND id = $2", list(HALTING), number)
    return Entry.of(row) if row else None


async def find_entries_of_event(connection: Connection, event_id: UUID) -> list[Entry]:
    """Find the entries of an event id, which is in logs and messages."""
    rows = await connection.fetch(
        f"SELECT * FROM ({_HEARD} UNION ALL {_UNSENT}) AS entry WHERE event_id = $2", list(HALTING), event_id
    )
    return [Entry.of(row) for row in rows]


async def was_handled(connection: Connection, kind: Kind, number: int) -> bool:
    """Return whether such an event existed and has been handled or sent."""
    if kind == "heard":
        last = await connection.fetchval(
            "SELECT pg_sequence_last_value(pg_get_serial_sequence('parked', 'id')::regclass)"
        )
        return 0 < number <= (last or 0)
    return bool(await connection.fetchval("SELECT true FROM outbox WHERE id = $1", number))


async def read_dead_letter(connection: Connection, entry: Entry) -> DeadLetter | None:
    """Read an entry's message; None if it has been handled meanwhile."""
    table = "parked" if entry.kind == "heard" else "outbox"
    row = await connection.fetchrow(
        f"SELECT headers, payload FROM {table} WHERE user_id = $1 AND event_id = $2 AND id = $3",
        entry.user_id,
        entry.event_id,
        entry.id,
    )
    if row is None:
        return None
    ahead, behind = await (
        _parked_of_key(connection, entry) if entry.kind == "heard" else _unsent_of_key(connection, entry)
    )
    return DeadLetter(entry, row["headers"], row["payload"], ahead, len(behind), behind[:NEIGHBOURS])


async def _parked_of_key(connection: Connection, entry: Entry) -> tuple[int, list[UUID]]:
    if entry.state not in ("WAITING", "HALTED"):
        return 0, []
    rows = await connection.fetch(
        """
        SELECT other.id, other.event_id FROM parked AS this
        JOIN parked AS other USING (consumer, topic, key)
        WHERE this.user_id = $1 AND this.id = $2 AND other.state IN ('WAITING', 'HALTED') AND other.id <> this.id
        ORDER BY other.id
        """,
        entry.user_id,
        entry.id,
    )
    return _around(entry, rows)


async def _unsent_of_key(connection: Connection, entry: Entry) -> tuple[int, list[UUID]]:
    if entry.state != "HALTED":
        return 0, []
    rows = await connection.fetch(
        """
        SELECT id, event_id FROM outbox
        WHERE user_id = $1 AND topic = $2 AND key = $3 AND id <> $4 AND sent_at IS NULL AND dropped_at IS NULL
        ORDER BY id
        """,
        entry.user_id,
        entry.topic,
        entry.key,
        entry.id,
    )
    return _around(entry, rows)


def _around(entry: Entry, rows: Sequence[asyncpg.Record]) -> tuple[int, list[UUID]]:
    behind = [row["event_id"] for row in rows if row["id"] > entry.id]
    return len(rows) - len(behind), behind


async def replay_entries(connection: Connection, entries: Collection[Entry]) -> set[Entry]:
    """Retry the events now, with attempts reset. Returns those changed; the others have been handled meanwhile."""
    parked = "state = 'WAITING', attempts = 0, next_attempt_at = now(), replayed_at = now()"
    return await _change(connection, entries, parked, "dead_reason = NULL, dropped_at = NULL")


async def drop_entries(connection: Connection, entries: Collection[Entry]) -> set[Entry]:
    """Discard the events: their keys continue without them. Returns those changed."""
    return await _change(connection, entries, "state = 'DROPPED'", "dropped_at = now()")


async def _change(connection: Connection, entries: Collection[Entry], parked: str, outbox: str) -> set[Entry]:
    """Update entries, locking rows in order of id to avoid deadlocks between concurrent runs."""
    changed: set[Entry] = set()
    for kind, table, change, only in (
        ("heard", "parked", parked, "true"),
        ("unsent", "outbox", outbox, "sent_at IS NULL AND dead_reason IS NOT NULL"),
    ):
        these = {entry.id: entry for entry in entries if entry.kind == kind}
        rows = await connection.fetch(
            f"""
            WITH locked AS (
                SELECT user_id, event_id, id FROM {table}
                JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS this (user_id, event_id, id)
                     USING (user_id, event_id, id)
                WHERE {only} ORDER BY id FOR UPDATE OF {table}
            )
            UPDATE {table} SET {change} FROM locked
            WHERE {table}.user_id = locked.user_id AND {table}.event_id = locked.event_id
                  AND {table}.id = locked.id
            RETURNING {table}.id
            """,
            [entry.user_id for entry in these.values()],
            [entry.event_id for entry in these.values()],
            [entry.id for entry in these.values()],
        )
        changed |= {these[row["id"]] for row in rows}
    return changed


async def read_replay_state(connection: Connection, entry: Entry) -> tuple[State | Literal["DONE"], str]:
    """Return the state of a replayed entry and its reason; DONE if it has been handled or sent."""
    if entry.kind == "unsent":
        row = await connection.fetchrow(
            "SELECT sent_at, dead_reason FROM outbox WHERE user_id = $1 AND event_id = $2",
            entry.user_id,
            entry.event_id,
        )
        if row is None or row["sent_at"] is not None:
            return "DONE", ""
        if row["dead_reason"] is None:
            return "WAITING", "not sent yet"
        return ("HALTED" if entry.topic in HALTING else "DEAD"), row["dead_reason"]
    row = await connection.fetchrow(
        "SELECT state, reason FROM parked WHERE user_id = $1 AND id = $2", entry.user_id, entry.id
    )
    return (row["state"], row["reason"]) if row else ("DONE", "")
