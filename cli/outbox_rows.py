"""Status of an outbox, and replay of its sent rows to a broker that was emptied or replaced."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from shared.chassis.postgres import Connection
from shared.contracts.types import to_ms

# Consumers detect duplicates only this long: the migrations set this retention of the inbox.
INBOX_RETENTION = timedelta(days=30)
BATCH_TIMEOUT_S = 900
MAX_CLOCK_SKEW = timedelta(hours=1)  # between the machine that created an event's id and the database


@dataclass(frozen=True)
class OutboxStatus:
    waiting: int
    oldest_waiting: datetime | None
    dead: int
    sent_last_hour: int
    cluster_id: str | None
    replays: int


async def read_status(connection: Connection) -> OutboxStatus:
    row = await connection.fetchrow(
        """
        SELECT waiting.*, dead.*, sent.*, broker.cluster_id, coalesce(broker.replays, 0) AS replays
        FROM (SELECT count(*) AS waiting, min(created_at) AS oldest_waiting FROM outbox
              WHERE sent_at IS NULL AND dead_reason IS NULL) AS waiting,
             (SELECT count(*) AS dead FROM outbox WHERE dead_reason IS NOT NULL AND dropped_at IS NULL) AS dead,
             (SELECT count(*) AS sent_last_hour FROM outbox WHERE sent_at > now() - interval '1 hour') AS sent
             LEFT JOIN event_broker AS broker ON true
        """
    )
    return OutboxStatus(**row)


async def mark_unsent(connection: Connection, bucket: int, since: datetime) -> int:
    """Mark the bucket's rows since `since` unsent and return their number.

    Holds the relay's lock on the bucket, so that the next relay sends the rows of each key in order.
    """
    await connection.execute(f"SET LOCAL statement_timeout = '{BATCH_TIMEOUT_S}s'")
    # The timer runs since BEGIN with the role's limit; a new limit takes effect only after the timer is disabled.
    await connection.execute("SET LOCAL transaction_timeout = 0")
    await connection.execute(f"SET LOCAL transaction_timeout = '{BATCH_TIMEOUT_S}s'")
    await connection.execute(
        "SELECT lock_outbox_bucket($1, wait => true)",
        bucket,
        timeout=BATCH_TIMEOUT_S,
    )
    result = await connection.execute(
        """
        UPDATE outbox SET sent_at = NULL
        WHERE bucket = $1 AND created_at >= $2 AND event_id >= $3 AND sent_at IS NOT NULL
        """,
        bucket,
        since,
        _first_id(since - MAX_CLOCK_SKEW),
        timeout=BATCH_TIMEOUT_S,
    )
    return int(result.rpartition(" ")[2])


async def record_broker(connection: Connection, cluster_id: str) -> int:
    """Make this cluster the known one: relays send to it, and consumers read from the beginning.

    Returns the number of replays so far.
    """
    replays: int = await connection.fetchval(
        """
        INSERT INTO event_broker (cluster_id, replays) VALUES ($1, 1)
        ON CONFLICT (only_one) DO UPDATE SET cluster_id = excluded.cluster_id, noted_at = now(),
                                             replays = event_broker.replays + 1
        RETURNING replays
        """,
        cluster_id,
    )
    return replays


def _first_id(time: datetime) -> UUID:
    """Return the lowest UUIDv7 of this time; comparing with it excludes partitions of earlier days."""
    return UUID(int=to_ms(time) << 80)
