"""Facts: time zones, sessions and trades, each stored once."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from services.analytics.domain.facts import Exit, SessionFact, TradeFact
from services.analytics.domain.local_days import Span
from services.analytics.queries.columns import column, joined
from services.analytics.queries.stale_days import Subject, marking
from shared.chassis.postgres import Connection
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed

UTC_ZONE = "UTC"

LIST_TRADES = """
    SELECT trade_id, symbol, strategy_id, strategy_name, exit_time, pnl, fee
    FROM unnest($3::timestamptz[], $4::timestamptz[]) AS span(since, until)
    JOIN trade_facts ON user_id = $1 AND mode = $2 AND exit_time >= since AND exit_time < until
    ORDER BY exit_time, trade_id
"""
SUM_PNL = """
    SELECT coalesce(sum(pnl), 0) FROM unnest($3::timestamptz[], $4::timestamptz[]) AS span(since, until)
    JOIN trade_facts ON user_id = $1 AND mode = $2 AND exit_time >= since AND exit_time < until
"""
EXITS_SINCE = """
    SELECT s.user_id, s.mode, times, ids, pnls
    FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS s(user_id, mode, since)
    CROSS JOIN LATERAL (
        SELECT array_agg(exit_time) AS times, array_agg(trade_id) AS ids, array_agg(pnl::text) AS pnls
        FROM (SELECT exit_time, trade_id, pnl FROM trade_facts t
              WHERE t.user_id = s.user_id AND t.mode = s.mode AND t.exit_time >= s.since
              ORDER BY exit_time, trade_id) AS in_order
    ) AS found
    WHERE times IS NOT NULL
"""

INSERT_TRADES = marking(
    f"""
    INSERT INTO trade_facts (user_id, trade_id, session_id, symbol, strategy_id, strategy_name, reason,
                             strategy_hash, mode, side, entry_time, exit_time, pnl, fee, entry_price, exit_price,
                             quantity, pnl_percentage)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[],
                         $8::text[], {column(9, "text")}, {column(10, "text")}, {column(11, "timestamptz")},
                         {column(12, "timestamptz")}, {column(13)}, {column(14)}, {column(15)}, {column(16)},
                         {column(17)}, {column(18)})
    ON CONFLICT DO NOTHING RETURNING user_id, mode, exit_time AS moment
    """
)
UPSERT_STARTED = marking(
    """
    INSERT INTO session_facts (user_id, session_id, mode, symbol, initial_balance, started_at)
    SELECT DISTINCT ON (u, s) * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::numeric[],
                                            $6::timestamptz[]) AS t(u, s)
    ON CONFLICT (user_id, session_id) DO UPDATE SET started_at = excluded.started_at
    RETURNING user_id, mode, least(started_at, stopped_at) AS moment
    """
)
UPSERT_STOPPED = marking(
    """
    INSERT INTO session_facts (user_id, session_id, mode, symbol, initial_balance, final_balance, stopped_at)
    SELECT DISTINCT ON (u, s) * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::numeric[],
                                            $6::numeric[], $7::timestamptz[]) AS t(u, s)
    ON CONFLICT (user_id, session_id) DO UPDATE
    SET final_balance = excluded.final_balance, stopped_at = excluded.stopped_at
    RETURNING user_id, mode, stopped_at AS moment
    """
)


async def lock_zones(connection: Connection, users: Collection[int]) -> dict[int, str]:
    """Return each user's time zone, UTC if unknown, and lock the rows until the transaction ends.

    The lock serialises transactions that compute a user's days.
    """
    in_order = sorted(set(users))  # always the same order, so that two batches cannot deadlock
    await connection.execute(
        "INSERT INTO user_zones (user_id) SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING", in_order
    )
    rows = await connection.fetch(
        """
        SELECT user_id, timezone FROM user_zones WHERE user_id = ANY ($1) ORDER BY user_id FOR NO KEY UPDATE
        """,
        in_order,
    )
    return {row["user_id"]: row["timezone"] for row in rows}


async def upsert_zones(connection: Connection, zones: Mapping[int, tuple[str, int]]) -> set[int]:
    """Store time zones given as (zone, version); older versions are ignored. Returns users whose zone changed."""
    in_order = sorted(zones)  # always the same order, so that two batches cannot deadlock
    rows = await connection.fetch(
        """
        INSERT INTO user_zones AS z (user_id, timezone, zone_version)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[])
        ON CONFLICT (user_id) DO UPDATE SET timezone = excluded.timezone, zone_version = excluded.zone_version
        WHERE z.zone_version < excluded.zone_version
        RETURNING user_id, coalesce(old.timezone, $4) <> new.timezone AS changed
        """,
        in_order,
        [zones[user_id][0] for user_id in in_order],
        [zones[user_id][1] for user_id in in_order],
        UTC_ZONE,
    )
    return {row["user_id"] for row in rows if row["changed"]}


async def get_zone(connection: Connection, user_id: int) -> str:
    zone: str | None = await connection.fetchval("SELECT timezone FROM user_zones WHERE user_id = $1", user_id)
    return zone or UTC_ZONE


async def insert_trades(connection: Connection, events: Sequence[TradeClosed]) -> None:
    """Insert trades and mark the days from the first new one on; trades stored already are ignored."""
    await connection.execute(
        INSERT_TRADES,
        [event.user_id for event in events],
        [event.trade_id for event in events],
        [event.session_id for event in events],
        [event.symbol for event in events],
        [event.strategy_id for event in events],
        [event.strategy_name for event in events],
        [event.reason for event in events],
        [event.strategy_hash for event in events],
        joined(["PAPER" if event.is_paper_trade else "LIVE" for event in events]),
        joined([event.side for event in events]),
        joined([event.entry_time for event in events]),
        joined([event.exit_time for event in events]),
        joined([event.pnl for event in events]),
        joined([event.fee for event in events]),
        joined([event.entry_price for event in events]),
        joined([event.exit_price for event in events]),
        joined([event.quantity for event in events]),
        joined([event.pnl_percentage for event in events]),
    )


async def upsert_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    """Store starts of sessions and mark the days from them on, and from the stop on if that is known already."""
    await connection.execute(
        UPSERT_STARTED,
        [event.user_id for event in events],
        [event.session_id for event in events],
        [event.mode for event in events],
        [event.symbol for event in events],
        [event.initial_balance for event in events],
        [event.started_at for event in events],
    )


async def upsert_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    """Store stops of sessions and mark the days from them on."""
    await connection.execute(
        UPSERT_STOPPED,
        [event.user_id for event in events],
        [event.session_id for event in events],
        [event.mode for event in events],
        [event.symbol for event in events],
        [event.initial_balance for event in events],
        [event.final_balance for event in events],
        [event.stopped_at for event in events],
    )


async def list_exits_since(connection: Connection, since: Mapping[Subject, datetime]) -> dict[Subject, list[Exit]]:
    """List the trades of each subject from its time on, in order of exit; without an entry if there are none."""
    rows = await connection.fetch(
        EXITS_SINCE,
        [user_id for user_id, _ in since],
        [mode for _, mode in since],
        list(since.values()),
    )
    # Amounts are read as text, as they are sent.
    return {
        (user_id, mode): list(map(Exit, times, ids, map(Decimal, pnls))) for user_id, mode, times, ids, pnls in rows
    }


async def list_sessions_of(
    connection: Connection, subjects: Collection[Subject]
) -> dict[Subject, list[SessionFact]]:
    """List the sessions of each subject whose start is known."""
    rows = await connection.fetch(
        """
        SELECT f.user_id, f.mode, initial_balance, started_at, final_balance, stopped_at
        FROM unnest($1::bigint[], $2::text[]) AS s(user_id, mode)
        JOIN session_facts f ON f.user_id = s.user_id AND f.mode = s.mode AND started_at IS NOT NULL
        """,
        [user_id for user_id, _ in subjects],
        [mode for _, mode in subjects],
    )
    sessions: dict[Subject, list[SessionFact]] = {subject: [] for subject in subjects}
    for user_id, mode, *fact in rows:
        sessions[user_id, mode].append(SessionFact(*fact))
    return sessions


async def list_trades(connection: Connection, user_id: int, mode: str, spans: Sequence[Span]) -> list[TradeFact]:
    """List trades within the spans, in order of exit."""
    rows = await connection.fetch(LIST_TRADES, user_id, mode, *ends_of(spans))
    return [TradeFact(*row) for row in rows]


async def sum_pnl(connection: Connection, user_id: int, mode: str, spans: Sequence[Span]) -> Decimal:
    total: Decimal = await connection.fetchval(SUM_PNL, user_id, mode, *ends_of(spans))
    return total


def ends_of(spans: Sequence[Span]) -> tuple[list[datetime], list[datetime]]:
    """Return the starts and the ends of the spans, as `unnest` takes them."""
    return [begin for begin, _ in spans], [end for _, end in spans]


async def list_sessions(connection: Connection, user_id: int, mode: str, end: datetime) -> list[SessionFact]:
    """List sessions started before `end`."""
    rows = await connection.fetch(
        """
        SELECT initial_balance, started_at, final_balance, stopped_at FROM session_facts
        WHERE user_id = $1 AND mode = $2 AND started_at < $3
        """,
        user_id,
        mode,
        end,
    )
    return [SessionFact(*row) for row in rows]
