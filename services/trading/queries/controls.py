"""What people and limits demand of live sessions: the part of their leases that is read before every action."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from services.trading.domain import FEED_SILENT, REFUSALS, Block, Entries
from services.trading.orders.store import Control, FreezeAnswer
from services.trading.queries.reconciliations import is_reconciled
from services.trading.queries.sessions import SessionLease
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of
from shared.strategy.execution.outcome import Reason


class _Row(NamedTuple):
    session_id: UUID
    entries: Entries
    blocked_by: Sequence[Block]
    is_silent: bool
    flatten: Reason | None
    frozen_answer: FreezeAnswer | None
    allows: Entries
    is_reconciled: bool

    @property
    def control(self) -> Control:
        refusal = REFUSALS.get(self.allows, FEED_SILENT if self.is_silent else None)
        frozen = "FROZEN" in self.blocked_by
        waits = not self.is_reconciled and "NOT_RECONCILED" not in self.blocked_by
        failed = "FAILED" in self.blocked_by
        return Control(refusal, self.flatten, self.entries == "STOPPING", waits, frozen, self.frozen_answer, failed)


async def read_controls(connection: Connection, leases: Sequence[SessionLease]) -> dict[UUID, Control]:
    """Return what is demanded of the sessions whose leases are still held under this epoch."""
    rows = await connection.fetch(
        f"""
        SELECT l.session_id, l.entries, l.blocked_by, l.silent_since IS NOT NULL, l.flatten, l.frozen_answer,
               l.allows, {is_reconciled("s.user_id", "s.exchange_account_id")}
        FROM session_leases AS l JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[])
             AS held (user_id, session_id, epoch) USING (user_id, session_id, epoch)
             JOIN user_trading_sessions AS s USING (user_id, session_id)
        """,
        *arrays_of([(lease.user_id, lease.session_id, lease.epoch) for lease in leases]),
    )
    return {row[0]: _Row(*row).control for row in rows}


async def block(connection: Connection, user_id: int, session_ids: Sequence[UUID], cause: Block) -> list[UUID]:
    """Stop entries of these sessions, for one cause more; returns those that it did not stop before.

    The caller has locked the leases.
    """
    rows = await connection.fetch(
        """
        UPDATE session_leases SET blocked_by = array_append(blocked_by, $3)
        WHERE user_id = $1 AND session_id = ANY ($2::uuid[]) AND NOT $3 = ANY (blocked_by) RETURNING session_id
        """,
        user_id,
        session_ids,
        cause,
    )
    return [row["session_id"] for row in rows]


async def unblock(connection: Connection, user_id: int, session_ids: Sequence[UUID], cause: Block) -> list[UUID]:
    """Lift one cause; returns the sessions that had it. The caller has locked the leases."""
    rows = await connection.fetch(
        """
        UPDATE session_leases SET blocked_by = array_remove(blocked_by, $3),
               frozen_answer = CASE $3 WHEN 'FROZEN' THEN NULL ELSE frozen_answer END
        WHERE user_id = $1 AND session_id = ANY ($2::uuid[]) AND $3 = ANY (blocked_by) RETURNING session_id
        """,
        user_id,
        session_ids,
        cause,
    )
    return [row["session_id"] for row in rows]


async def set_stopping(connection: Connection, user_id: int, session_id: UUID, reason: str) -> None:
    """Let a live session stop: no entries, and everything is closed. The caller has locked the lease."""
    await connection.execute(
        """
        UPDATE session_leases SET entries = 'STOPPING', flatten = $3 WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        session_id,
        reason,
    )


async def set_answer(connection: Connection, user_id: int, session_id: UUID, answer: FreezeAnswer) -> bool:
    """Answer a foreign change; False if the session is not frozen. The caller has locked the lease."""
    answered = await connection.fetchval(
        """
        UPDATE session_leases SET frozen_answer = $3
        WHERE user_id = $1 AND session_id = $2 AND 'FROZEN' = ANY (blocked_by) RETURNING 1
        """,
        user_id,
        session_id,
        answer,
    )
    return answered is not None


async def withdraw_answer(connection: Connection, user_id: int, session_id: UUID) -> None:
    """Let a person answer again. The caller has locked the lease."""
    await connection.execute(
        "UPDATE session_leases SET frozen_answer = NULL WHERE user_id = $1 AND session_id = $2", user_id, session_id
    )
