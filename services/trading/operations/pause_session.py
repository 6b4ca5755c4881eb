"""Pause and resume a session's entries; its exits always continue."""

from uuid import UUID

from services.trading.domain import TRANSITIONS, Entries, SessionStatus
from services.trading.errors import SessionEnded
from services.trading.operations.hold_to_plan import hold_to_plan
from services.trading.queries import entitlements, sessions
from services.trading.queries.restrictions import Kind, Restriction, insert_restriction
from services.trading.queries.sessions import SessionRow
from shared.chassis.postgres import Connection


async def pause_session(connection: Connection, user_id: int, session_id: UUID) -> SessionRow:
    """Stop entries from the next close on; exits, stops and targets continue. Idempotent. Raises NotFound,
    SessionEnded."""
    return await _switch(connection, user_id, session_id, "PAUSED", "PAUSED", "PAUSED")


async def resume_session(connection: Connection, user_id: int, session_id: UUID) -> SessionRow:
    """Allow entries again, within the limits of the plan. Idempotent. Raises NotFound, SessionEnded."""
    return await _switch(connection, user_id, session_id, "ACTIVE", "ALLOWED", "RESUMED")


async def _switch(
    connection: Connection,
    user_id: int,
    session_id: UUID,
    status: SessionStatus,
    entries: Entries,
    kind: Kind,
) -> SessionRow:
    session = await lock_session(connection, user_id, session_id)
    if session.status == status:
        return session
    check_transition(session.status, status)
    await sessions.set_status(connection, user_id, session_id, status)
    await sessions.set_entries(connection, user_id, [session_id], entries)
    note = Restriction(kind, after_bar=session.last_bar)
    await insert_restriction(connection, user_id, session_id, note)
    if entries == "ALLOWED":
        await hold_to_plan(connection, user_id)
    return await sessions.get_session(connection, user_id, session_id)


def check_transition(current: SessionStatus, requested: SessionStatus) -> None:
    """Raises SessionEnded if the change of status is not allowed."""
    if requested not in TRANSITIONS[current]:
        raise SessionEnded(
            f"a session that is {current} cannot become {requested}", from_status=current, to_status=requested
        )


async def lock_session(connection: Connection, user_id: int, session_id: UUID) -> SessionRow:
    """Lock the plan, the leases, the cursor and the session, always in this order, to prevent deadlocks.

    All leases of the tenant, because `hold_to_plan` may change any of them. Raises NotFound.
    """
    await entitlements.find_plan_limits(connection, user_id, lock=True)
    await sessions.get_entries(connection, user_id)
    await sessions.lock_cursor(connection, user_id, session_id)
    return await sessions.get_session(connection, user_id, session_id, lock=True)
