"""Kill switches: those of tenants and of their sessions, and those of a symbol and of the platform."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection

Scope = Literal["platform", "symbol", "tenant", "session"]
# What covers a lease `l` of session `s`: its own switch, its tenant's, its symbol's, or the platform's.
COVERING = """
    SELECT k.flatten, k.created_at FROM kill_switches AS k
    WHERE k.user_id = l.user_id AND k.lifted_at IS NULL AND (k.session_id IS NULL OR k.session_id = l.session_id)
    UNION ALL
    SELECT p.flatten, p.created_at FROM platform_kill_switches AS p
    WHERE p.lifted_at IS NULL AND (p.symbol IS NULL OR p.symbol = s.symbol)
"""


@dataclass(frozen=True)
class SwitchRow:
    """`session_id` None: all sessions of the tenant."""

    kill_switch_id: UUID
    session_id: UUID | None
    flatten: bool
    reason: str | None
    is_operators: bool
    created_at: datetime
    lifted_at: datetime | None


COLUMNS = ", ".join(field.name for field in fields(SwitchRow))
ORDERS = {"created_at": Order(created_at=datetime, kill_switch_id=UUID)}


@dataclass(frozen=True)
class Switched:
    """A session whose lease has changed: `is_on` if a switch covers it now."""

    user_id: int
    session_id: UUID
    is_on: bool


async def upsert_switch(
    connection: Connection,
    user_id: int,
    switch_id: UUID,
    session_id: UUID | None,
    *,
    flatten: bool,
    reason: str | None,
    is_operators: bool = False,
) -> SwitchRow:
    """Switch on. A switch of the same scope that is on stays, and flattens from now on if this one does."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO kill_switches AS k (user_id, kill_switch_id, session_id, flatten, reason, is_operators)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (user_id, session_id, is_operators) WHERE lifted_at IS NULL
        DO UPDATE SET flatten = k.flatten OR excluded.flatten, reason = coalesce(excluded.reason, k.reason)
        RETURNING {COLUMNS}
        """,
        user_id,
        switch_id,
        session_id,
        flatten,
        reason,
        is_operators,
    )
    return SwitchRow(**row)


async def lift_switch(connection: Connection, user_id: int, switch_id: UUID) -> SwitchRow | None:
    """Lift a tenant's switch; a lifted one stays as it is. None if there is no such switch of their own."""
    row = await connection.fetchrow(
        f"""
        UPDATE kill_switches SET lifted_at = coalesce(lifted_at, clock_timestamp())
        WHERE user_id = $1 AND kill_switch_id = $2 AND NOT is_operators RETURNING {COLUMNS}
        """,
        user_id,
        switch_id,
    )
    return SwitchRow(**row) if row else None


async def lift_operators(connection: Connection, user_id: int) -> int:
    """Lift the operator's switch of a tenant; returns how many were on."""
    rows = await connection.fetch(
        """
        UPDATE kill_switches SET lifted_at = clock_timestamp()
        WHERE user_id = $1 AND is_operators AND lifted_at IS NULL RETURNING 1
        """,
        user_id,
    )
    return len(rows)


async def lock_platform(connection: Connection) -> None:
    """Let no session start until the transaction ends: each reads the table as it starts. Waits for those that
    have read it, so that their leases are seen."""
    await connection.execute("LOCK TABLE platform_kill_switches IN ACCESS EXCLUSIVE MODE")


async def upsert_platform(
    connection: Connection, switch_id: UUID, symbol: str | None, *, flatten: bool, reason: str | None
) -> None:
    """Switch on a symbol's switch, or the platform's; one that is on flattens from now on if this one does."""
    await connection.execute(
        """
        INSERT INTO platform_kill_switches AS k (kill_switch_id, symbol, flatten, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT (symbol) WHERE lifted_at IS NULL
        DO UPDATE SET flatten = k.flatten OR excluded.flatten, reason = coalesce(excluded.reason, k.reason)
        """,
        switch_id,
        symbol,
        flatten,
        reason,
    )


async def lift_platform(connection: Connection, symbol: str | None) -> None:
    await connection.execute(
        """
        UPDATE platform_kill_switches SET lifted_at = clock_timestamp()
        WHERE symbol IS NOT DISTINCT FROM $1 AND lifted_at IS NULL
        """,
        symbol,
    )


@dataclass(frozen=True)
class ActiveSwitch:
    """A switch that is on, of whichever scope."""

    scope: str
    flatten: bool
    reason: str | None
    since: datetime


async def list_active(connection: Connection) -> list[ActiveSwitch]:
    """List the switches that are on, of all tenants, as the owner."""
    rows = await connection.fetch(
        """
        SELECT coalesce(symbol, 'the platform') AS scope, flatten, reason, created_at AS since
        FROM platform_kill_switches WHERE lifted_at IS NULL
        UNION ALL
        SELECT concat('user ', e.public_id, ', session ' || k.session_id, ' by the operator'), k.flatten, k.reason,
               k.created_at
        FROM kill_switches AS k JOIN entitlements AS e USING (user_id)
        WHERE k.lifted_at IS NULL AND k.is_operators
        UNION ALL
        SELECT concat('user ', e.public_id, ', session ' || k.session_id), k.flatten, k.reason, k.created_at
        FROM kill_switches AS k JOIN entitlements AS e USING (user_id)
        WHERE k.lifted_at IS NULL AND NOT k.is_operators
        ORDER BY since
        """
    )
    return [ActiveSwitch(**row) for row in rows]


async def find_switch(connection: Connection, user_id: int, switch_id: UUID) -> SwitchRow | None:
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM kill_switches WHERE user_id = $1 AND kill_switch_id = $2", user_id, switch_id
    )
    return SwitchRow(**row) if row else None


async def list_switches(connection: Connection, user_id: int, is_on: bool | None, wanted: Slice) -> list[SwitchRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM kill_switches
        WHERE user_id = $1 AND ($2::boolean IS NULL OR (lifted_at IS NULL) = $2) {wanted.sql(3)}
        """,
        user_id,
        is_on,
        *wanted.arguments,
    )
    return [SwitchRow(**row) for row in rows]


async def find_scope(connection: Connection, user_id: int, symbol: str) -> Scope | None:
    """Return what a switch covers that would stop a new session of this symbol, the widest first."""
    scope: Scope | None = await connection.fetchval(
        """
        SELECT scope FROM (
            SELECT CASE WHEN symbol IS NULL THEN 'platform' ELSE 'symbol' END AS scope FROM platform_kill_switches
            WHERE lifted_at IS NULL AND (symbol IS NULL OR symbol = $2)
            UNION ALL
            SELECT 'tenant' FROM kill_switches WHERE user_id = $1 AND session_id IS NULL AND lifted_at IS NULL
        ) AS covering ORDER BY scope LIMIT 1
        """,
        user_id,
        symbol,
    )
    return scope


async def apply_switches(
    connection: Connection, user_id: int | None = None, symbol: str | None = None
) -> list[Switched]:
    """Bring the leases of running sessions in line with the switches that cover them; returns those that changed
    sides. Without `user_id`, those of all tenants, as the owner. The session that flattens because it stops keeps
    its reason.

    Locks the leases, so that no entry that is not covered now passes the gate after the commit.
    """
    rows = await connection.fetch(
        f"""
        WITH locked AS (
            SELECT l.user_id, l.session_id, l.blocked_by, l.entries FROM session_leases AS l
            JOIN user_trading_sessions AS s USING (user_id, session_id)
            WHERE ($1::bigint IS NULL OR l.user_id = $1) AND ($2::text IS NULL OR s.symbol = $2)
            ORDER BY l.user_id, l.session_id FOR UPDATE OF l
        ),
        covered AS (
            SELECT l.*, c.since, coalesce(c.flatten, false) AS flatten, 'KILL_SWITCH' = ANY (l.blocked_by) AS was_on
            FROM locked AS l JOIN user_trading_sessions AS s USING (user_id, session_id)
            CROSS JOIN LATERAL (
                SELECT min(each.created_at) AS since, bool_or(each.flatten) AS flatten FROM ({COVERING}) AS each
            ) AS c
        ),
        changed AS (
            UPDATE session_leases AS l SET
                blocked_by = CASE
                    WHEN c.since IS NULL THEN array_remove(l.blocked_by, 'KILL_SWITCH')
                    WHEN c.was_on THEN l.blocked_by ELSE array_append(l.blocked_by, 'KILL_SWITCH') END,
                killed_at = c.since,
                flatten = CASE WHEN l.entries = 'STOPPING' THEN l.flatten
                               WHEN c.flatten THEN 'kill_switch' END
            FROM covered AS c
            WHERE l.user_id = c.user_id AND l.session_id = c.session_id
                  AND (c.was_on <> (c.since IS NOT NULL) OR l.killed_at IS DISTINCT FROM c.since
                       OR c.flatten <> (l.flatten IS NOT DISTINCT FROM 'kill_switch'))
            RETURNING l.user_id, l.session_id, c.since IS NOT NULL AS is_on, c.was_on
        )
        SELECT user_id, session_id, is_on FROM changed WHERE is_on <> was_on ORDER BY user_id, session_id
        """,
        user_id,
        symbol,
    )
    return [Switched(**row) for row in rows]


@dataclass(frozen=True)
class SwitchEffect:
    """`stopped_s`: seconds from the switch to the answer to the last entry that had passed the gate; None while one
    is under way. `flat_s`: to the last fill, of a live session that flattens and is flat; else None."""

    session_id: UUID
    killed_at: datetime
    stopped_s: float | None
    flat_s: float | None


async def measure_switches(
    connection: Connection, users: Collection[int], session_ids: Sequence[UUID]
) -> list[SwitchEffect]:
    """Measure the effect of the switches that cover these sessions, as trading_worker."""
    rows = await connection.fetch(
        """
        SELECT l.session_id, l.killed_at,
               CASE WHEN i.sending THEN NULL
                    ELSE greatest(extract(epoch FROM i.answered_at - l.killed_at), 0)::float8 END AS stopped_s,
               CASE WHEN l.flatten = 'kill_switch' AND NOT i.open AND NOT s.is_paper_trading AND NOT EXISTS (
                        SELECT FROM user_trades AS t
                        WHERE t.user_id = l.user_id AND t.session_id = l.session_id AND t.status = 'OPEN')
                    THEN greatest(extract(epoch FROM (
                        SELECT max(f.created_at) FROM fills AS f
                        WHERE f.user_id = l.user_id AND f.session_id = l.session_id) - l.killed_at), 0)::float8
               END AS flat_s
        FROM session_leases AS l JOIN user_trading_sessions AS s USING (user_id, session_id)
        CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(leg = 'entry' AND state = 'SENDING'), false) AS sending,
                   coalesce(bool_or(state IN ('SENDING', 'UNKNOWN', 'ACKED', 'PARTIALLY_FILLED')), false) AS open,
                   max(updated_at) FILTER (WHERE leg = 'entry' AND sent_at IS NOT NULL) AS answered_at
            FROM order_intents AS o WHERE o.user_id = l.user_id AND o.session_id = l.session_id
        ) AS i
        WHERE l.user_id = ANY ($1::bigint[]) AND l.session_id = ANY ($2::uuid[]) AND l.killed_at IS NOT NULL
        """,
        users,
        session_ids,
    )
    return [SwitchEffect(**row) for row in rows]
