"""Pause and resume a session: entries stop and go on, exits always go on."""

from uuid import UUID

from services.trading.domain import TRANSITIONS, Entries, SessionStatus
from services.trading.errors import SessionEnded
from services.trading.operations.hold_to_plan import hold_to_plan
from services.trading.queries import entitlements, sessions
from services.trading.queries.restrictions import Kind, Restriction, insert_restriction
from services.trading.queries.sessions import SessionRow
from shared.chassis.errors import NotFound
from shared.chassis.postgres import Connection, Database


async def pause_session(database: Database, user_id: int, session_id: UUID) -> SessionRow:
    """No entries from the next close on; exits, stops and targets go on. Pausing twice is once."""
    return await _switch(database, user_id, session_id, "PAUSED", "PAUSED", "PAUSED")


async def resume_session(database: Database, user_id: int, session_id: UUID) -> SessionRow:
    """Entries again, as far as the plan has a place. Resuming twice is once."""
    return await _switch(database, user_id, session_id, "ACTIVE", "ALLOWED", "RESUMED")


async def _switch(
    database: Database,
    user_id: int,
    session_id: UUID,
    status: SessionStatus,
    entries: Entries,
    kind: Kind,
) -> SessionRow:
    async with database.tenant(user_id) as connection:
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
        found = await sessions.get_session(connection, user_id, session_id)
    assert found is not None, "locked above"
    return found


def check_transition(now: SessionStatus, wanted: SessionStatus) -> None:
    """Raises SessionEnded."""
    if wanted not in TRANSITIONS[now]:
        raise SessionEnded(f"a session that is {now} cannot become {wanted}", from_status=now, to_status=wanted)


async def lock_session(connection: Connection, user_id: int, session_id: UUID) -> SessionRow:
    """The plan, the lease, the session, always in this order, so that no two wait for each other."""
    await entitlements.get_plan_limits(connection, user_id, lock=True)
    await sessions.lock_lease(connection, user_id, session_id)
    session = await sessions.get_session(connection, user_id, session_id, lock=True)
    if session is None:
        raise NotFound
    return session
