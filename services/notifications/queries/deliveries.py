"""Delivery for many tenants at once: positions of inboxes, the ledger of deliveries, and counts per minute."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from services.notifications.domain.digests import Minute, MinuteKey
from services.notifications.domain.notices import Notice
from shared.chassis.postgres import Connection

Delivered = tuple[int, UUID]  # user and event


@dataclass(frozen=True)
class Delivery:
    """A row of the ledger: the notification that carries an event."""

    notice: Notice
    message_id: UUID
    state: str


async def lock_inboxes(connection: Connection, users: Collection[int]) -> dict[int, int]:
    """Lock inboxes until the transaction ends, creating missing ones. Returns the last position of each.

    Rows are always locked in the same order, so that two batches cannot deadlock.
    """
    await connection.execute(
        "INSERT INTO inboxes (user_id) SELECT u FROM unnest($1::bigint[]) AS u ORDER BY u ON CONFLICT DO NOTHING",
        list(users),
    )
    rows = await connection.fetch(
        "SELECT user_id, last_position FROM inboxes WHERE user_id = ANY ($1::bigint[]) ORDER BY user_id FOR UPDATE",
        list(users),
    )
    return {row["user_id"]: row["last_position"] for row in rows}


async def update_positions(connection: Connection, positions: Mapping[int, int]) -> None:
    await connection.execute(
        """
        UPDATE inboxes AS i SET last_position = n.position
        FROM unnest($1::bigint[], $2::bigint[]) AS n (user_id, position) WHERE i.user_id = n.user_id
        """,
        list(positions),
        list(positions.values()),
    )


async def find_delivered(connection: Connection, notices: Sequence[Notice]) -> set[Delivered]:
    """Return the notices that already have a ledger row for the dashboard."""
    rows = await connection.fetch(
        """
        SELECT user_id, event_id FROM deliveries
        JOIN unnest($1::bigint[], $2::uuid[]) AS n (user_id, event_id) USING (user_id, event_id)
        WHERE channel = 'dashboard'
        """,
        [notice.user_id for notice in notices],
        [notice.event_id for notice in notices],
    )
    return {(row["user_id"], row["event_id"]) for row in rows}


async def insert_deliveries(connection: Connection, deliveries: Sequence[Delivery]) -> None:
    await connection.execute(
        """
        INSERT INTO deliveries (user_id, event_id, event_type, said_at, message_id, state, channel)
        SELECT n.*, 'dashboard'
        FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[], $6::text[]) AS n
        """,
        [delivery.notice.user_id for delivery in deliveries],
        [delivery.notice.event_id for delivery in deliveries],
        [delivery.notice.kind for delivery in deliveries],
        [delivery.notice.published_at for delivery in deliveries],
        [delivery.message_id for delivery in deliveries],
        [delivery.state for delivery in deliveries],
    )


async def get_minutes(connection: Connection, keys: Collection[MinuteKey]) -> dict[MinuteKey, Minute]:
    """Return the minutes that have a row. The inboxes must be locked."""
    rows = await connection.fetch(
        """
        SELECT m.* FROM inbox_minutes m
        JOIN unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS n (user_id, event_type, minute)
             USING (user_id, event_type, minute)
        """,
        *map(list, zip(*keys, strict=True)),
    )
    return {
        (row["user_id"], row["event_type"], row["minute"]): Minute(
            row["told"], row["digest_id"], row["digested"], row["severity"]
        )
        for row in rows
    }


async def upsert_minutes(connection: Connection, minutes: Mapping[MinuteKey, Minute]) -> None:
    await connection.execute(
        """
        INSERT INTO inbox_minutes (user_id, event_type, minute, told, digest_id, digested, severity)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::int[], $5::uuid[], $6::jsonb[],
                             $7::text[])
        ON CONFLICT (user_id, event_type, minute) DO UPDATE SET told = excluded.told,
            digest_id = excluded.digest_id, digested = excluded.digested, severity = excluded.severity,
            updated_at = now()
        """,
        *map(list, zip(*minutes, strict=True)),
        [minute.count for minute in minutes.values()],
        [minute.digest_id for minute in minutes.values()],
        [dict(minute.digested) for minute in minutes.values()],
        [minute.severity for minute in minutes.values()],
    )
