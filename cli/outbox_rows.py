"""How an outbox stands, and saying again what it has sent already: for a broker that was emptied or replaced."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from shared.chassis.postgres import Connection
from shared.contracts.types import to_ms

# Beyond it a consumer no longer knows what it has worked: the migrations keep the inbox this long.
INBOX_KEPT = timedelta(days=30)
LONGEST_BATCH_S = 900
CLOCKS_APART = timedelta(hours=1)  # between the machine that made an event's id and the database


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
    """All of a bucket that was said since then, under the lock by which relays hold it: whoever sends next finds
    each key whole, and sends none of its later rows before an earlier one. How many.
    """
    await connection.execute(f"SET LOCAL statement_timeout = '{LONGEST_BATCH_S}s'")
    # It is running since BEGIN with the role's limit, and takes another only once it was ended.
    await connection.execute("SET LOCAL transaction_timeout = 0")
    await connection.execute(f"SET LOCAL transaction_timeout = '{LONGEST_BATCH_S}s'")
    await connection.execute(
        "SELECT lock_outbox_bucket($1, wait => true)",
        bucket,
        timeout=LONGEST_BATCH_S,
    )
    done = await connection.execute(
        """
        UPDATE outbox SET sent_at = NULL
        WHERE bucket = $1 AND created_at >= $2 AND event_id >= $3 AND sent_at IS NOT NULL
        """,
        bucket,
        since,
        _first_id(since - CLOCKS_APART),
        timeout=LONGEST_BATCH_S,
    )
    return int(done.rpartition(" ")[2])


async def note_broker(connection: Connection, cluster_id: str) -> int:
    """From now on rows go to this cluster, and consumers read from the beginning. How often that was done."""
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


def _first_id(moment: datetime) -> UUID:
    """No UUIDv7 made at that time or later is below it; the partitions of earlier days are not looked at."""
    return UUID(int=to_ms(moment) << 80)
