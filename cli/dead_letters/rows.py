"""Events that wait aside or were given up, as a person looks at them and decides: what was heard and could not be
worked (parked), and what was to be said and cannot be sent (outbox). All as the queue role.
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
FOR_A_PERSON: tuple[State, ...] = ("HALTED", "DEAD")
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
class Letter:
    """All of it. `ahead` are those of its key that it waits for, `behind` those that wait for it."""

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


async def list_entries(connection: Connection, which: Filter, most: int) -> tuple[list[Entry], int]:
    """The first of them, key by key in order, and how many there are."""
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
        most,
    )
    return [Entry.of(row) for row in rows], rows[0]["total"] if rows else 0


async def find_entry(connection: Connection, kind: Kind, number: int) -> Entry | None:
    """Whatever its state; None also where it was worked or sent meanwhile."""
    if kind == "heard":
        row = await connection.fetchrow(f"{_HEARD} WHERE id = $1", number)
    else:
        row = await connection.fetchrow(f"{_UNSENT} AND id = $2", list(HALTING), number)
    return Entry.of(row) if row else None


async def find_entries_of_event(connection: Connection, event_id: UUID) -> list[Entry]:
    """By the id that stands in logs and messages."""
    rows = await connection.fetch(
        f"SELECT * FROM ({_HEARD} UNION ALL {_UNSENT}) AS entry WHERE event_id = $2", list(HALTING), event_id
    )
    return [Entry.of(row) for row in rows]


async def has_been(connection: Connection, kind: Kind, number: int) -> bool:
    """Whether there was such an event, and nothing is left to do for it: it was worked or sent."""
    if kind == "heard":
        last = await connection.fetchval(
            "SELECT pg_sequence_last_value(pg_get_serial_sequence('parked', 'id')::regclass)"
        )
        return 0 < number <= (last or 0)
    return bool(await connection.fetchval("SELECT true FROM outbox WHERE id = $1", number))


async def read_letter(connection: Connection, entry: Entry) -> Letter | None:
    """None where it was worked meanwhile."""
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
    return Letter(entry, row["headers"], row["payload"], ahead, len(behind), behind[:NEIGHBOURS])


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
    """Have them tried again at once, as if for the first time; those that are gone meanwhile were worked."""
    heard = "state = 'WAITING', attempts = 0, next_attempt_at = now(), replayed_at = now()"
    return await _change(connection, entries, heard, "dead_reason = NULL, dropped_at = NULL")


async def drop_entries(connection: Connection, entries: Collection[Entry]) -> set[Entry]:
    """Let them go: their keys go on without them."""
    return await _change(connection, entries, "state = 'DROPPED'", "dropped_at = now()")


async def _change(connection: Connection, entries: Collection[Entry], heard: str, unsent: str) -> set[Entry]:
    """Locked in the order of their ids, so that two of these at once do not wait for each other."""
    changed: set[Entry] = set()
    for kind, table, change, only in (
        ("heard", "parked", heard, "true"),
        ("unsent", "outbox", unsent, "sent_at IS NULL AND dead_reason IS NOT NULL"),
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


async def look_again(connection: Connection, entry: Entry) -> tuple[State | Literal["DONE"], str]:
    """How it stands with one that is replayed: DONE when it was worked or sent, else its state and why."""
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
