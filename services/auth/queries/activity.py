"""The activity log and its heads."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.domain.chain import Entry, Head, Link
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection

ROWS_AT_ONCE = 2_000


async def lock_heads(connection: Connection, user_ids: Collection[int]) -> dict[int, Head]:
    """Lock the head of each user's chain until the transaction ends, creating missing ones."""
    rows = await connection.fetch(
        """
        INSERT INTO user_activity_heads AS h (user_id) SELECT unnest($1::bigint[])
        ON CONFLICT (user_id) DO UPDATE SET entries = h.entries RETURNING user_id, entries, hash
        """,
        sorted(set(user_ids)),  # in a fixed order, so that two batches cannot deadlock
    )
    return {row["user_id"]: Head(row["entries"], row["hash"]) for row in rows}


async def find_logged(connection: Connection, activities: Collection[tuple[int, UUID]]) -> set[UUID]:
    """Return the ids that are already in the log."""
    rows = await connection.fetch(
        """
        SELECT activity_id FROM user_activity_log
        JOIN unnest($1::bigint[], $2::uuid[]) AS said (user_id, activity_id) USING (user_id, activity_id)
        """,
        [user_id for user_id, _ in activities],
        [activity_id for _, activity_id in activities],
    )
    return {row["activity_id"] for row in rows}


async def insert_links(connection: Connection, links: Sequence[Link]) -> None:
    await connection.execute(
        """
        INSERT INTO user_activity_log (user_id, seq, activity_id, timestamp, activity_type, actor, service,
                                       ip_address, user_agent, endpoint, data, created_at, previous_hash, hash)
        SELECT user_id, seq, activity_id, timestamp, activity_type, actor, service, ip_address::inet,
               user_agent, endpoint, data, created_at, previous_hash, hash
        FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
                    $8::text[], $9::text[], $10::text[], $11::jsonb[], $12::timestamptz[], $13::bytea[],
                    $14::bytea[])
             AS new (user_id, seq, activity_id, timestamp, activity_type, actor, service, ip_address,
                     user_agent, endpoint, data, created_at, previous_hash, hash)
        """,
        [link.entry.user_id for link in links],
        [link.seq for link in links],
        [link.entry.activity_id for link in links],
        [link.entry.timestamp for link in links],
        [link.entry.activity_type for link in links],
        [link.entry.actor for link in links],
        [link.entry.service for link in links],
        [link.entry.ip_address for link in links],
        [link.entry.user_agent for link in links],
        [link.entry.endpoint for link in links],
        [link.entry.data for link in links],
        [link.entry.created_at for link in links],
        [link.previous_hash for link in links],
        [link.hash for link in links],
    )


async def update_heads(connection: Connection, heads: Mapping[int, Head]) -> None:
    await connection.execute(
        """
        UPDATE user_activity_heads SET entries = new.entries, hash = new.hash
        FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS new (user_id, entries, hash)
        WHERE user_activity_heads.user_id = new.user_id
        """,
        list(heads),
        [head.entries for head in heads.values()],
        [head.hash for head in heads.values()],
    )


@dataclass(frozen=True)
class ActivityFilter:
    """Filters of the log; None: any. The time is from `since` on and before `before`."""

    activity_type: str | None
    since: datetime | None
    before: datetime | None


ORDERS = {"created_at": Order(seq=int)}


@dataclass(frozen=True)
class ActivityRow:
    seq: int
    activity_id: UUID
    timestamp: datetime
    activity_type: str
    actor: str
    service: str
    ip_address: str | None
    user_agent: str | None
    endpoint: str
    data: Mapping[str, object]
    created_at: datetime


async def list_activity(
    connection: Connection, user_id: int, criteria: ActivityFilter, wanted: Slice
) -> list[ActivityRow]:
    rows = await connection.fetch(
        f"""
        SELECT seq, activity_id, timestamp, activity_type, actor, service, host(ip_address) AS ip_address,
               user_agent, endpoint, data, created_at
        FROM user_activity_log
        WHERE user_id = $1 AND ($2::text IS NULL OR activity_type = $2)
              AND ($3::timestamptz IS NULL OR timestamp >= $3) AND ($4::timestamptz IS NULL OR timestamp < $4)
              {wanted.sql(5)}
        """,
        user_id,
        criteria.activity_type,
        criteria.since,
        criteria.before,
        *wanted.arguments,
    )
    return [ActivityRow(*row) for row in rows]


async def get_highest_user_id(connection: Connection) -> int:
    highest: int = await connection.fetchval("SELECT highest_user_id()")
    return highest


async def use_snapshot(connection: Connection) -> None:
    """Read one snapshot for the rest of the transaction. Must be its first statement."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


async def count_entries(connection: Connection, user_ids: Collection[int]) -> int:
    """Return the number of rows according to the heads."""
    entries: int = await connection.fetchval(
        "SELECT coalesce(sum(entries), 0)::bigint FROM user_activity_heads WHERE user_id = ANY ($1)", user_ids
    )
    return entries


async def find_heads(connection: Connection, user_ids: Collection[int]) -> dict[int, Head]:
    rows = await connection.fetch(
        "SELECT user_id, entries, hash FROM user_activity_heads WHERE user_id = ANY ($1)", user_ids
    )
    return {row["user_id"]: Head(row["entries"], row["hash"]) for row in rows}


async def find_public_ids(connection: Connection, user_ids: Collection[int]) -> dict[int, UUID]:
    rows = await connection.fetch("SELECT user_id, public_id FROM users WHERE user_id = ANY ($1)", user_ids)
    return {row["user_id"]: row["public_id"] for row in rows}


async def read_links(connection: Connection, user_ids: Collection[int]) -> AsyncIterator[Link]:
    """Stream all rows of these users, ordered by user and `seq`."""
    rows = connection.cursor(
        """
        SELECT user_id, activity_id, timestamp, activity_type, actor, service, host(ip_address), user_agent,
               endpoint, data, created_at, seq, previous_hash, hash
        FROM user_activity_log WHERE user_id = ANY ($1) ORDER BY user_id, seq
        """,
        user_ids,
        prefetch=ROWS_AT_ONCE,
    )
    async for row in rows:
        yield Link(Entry(*row[:11]), *row[11:])
