"""How many trades of the plan's period the entries of live sessions have used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of

# The period of plans whose event came before periods were kept is the calendar month.
PERIOD = "coalesce(e.period_start, date_trunc('month', now(), 'UTC'))"


@dataclass(frozen=True)
class LiveEntries:
    """The entries counted in a tenant's period; `limit` None: unlimited."""

    period_start: datetime
    used: int
    limit: int | None


async def lock_counts(connection: Connection, user_ids: Sequence[int]) -> dict[int, LiveEntries]:
    """Return the counts of these tenants, locked in the order of their keys until the transaction ends. A tenant
    without a plan is not among them."""
    users = sorted(set(user_ids))
    await connection.execute(
        f"""
        INSERT INTO live_entry_counts (user_id, period_start, entries)
        SELECT e.user_id, {PERIOD}, 0 FROM entitlements AS e WHERE e.user_id = ANY ($1::bigint[]) ORDER BY 1
        ON CONFLICT DO NOTHING
        """,
        users,
    )
    rows = await connection.fetch(
        f"""
        SELECT c.user_id, c.period_start, c.entries, e.max_trades_per_month
        FROM live_entry_counts AS c JOIN entitlements AS e USING (user_id)
        WHERE c.user_id = ANY ($1::bigint[]) AND c.period_start = {PERIOD} ORDER BY c.user_id FOR UPDATE OF c
        """,
        users,
    )
    return {user_id: LiveEntries(*counted) for user_id, *counted in rows}


async def find_count(connection: Connection, user_id: int) -> LiveEntries | None:
    row = await connection.fetchrow(
        f"""
        SELECT {PERIOD}, coalesce(c.entries, 0), e.max_trades_per_month FROM entitlements AS e
        LEFT JOIN live_entry_counts AS c ON c.user_id = e.user_id AND c.period_start = {PERIOD}
        WHERE e.user_id = $1
        """,
        user_id,
    )
    return LiveEntries(*row) if row else None


async def add_to_counts(
    connection: Connection, counts: Mapping[int, LiveEntries], entries: Mapping[int, int]
) -> None:
    """Add these entries to the tenants' counts, which the caller has locked."""
    rows = [(user_id, counts[user_id].period_start, added) for user_id, added in sorted(entries.items())]
    await connection.execute(
        """
        UPDATE live_entry_counts AS c SET entries = c.entries + new.entries
        FROM unnest($1::bigint[], $2::timestamptz[], $3::integer[]) AS new (user_id, period_start, entries)
        WHERE c.user_id = new.user_id AND c.period_start = new.period_start
        """,
        *arrays_of(rows),
    )
