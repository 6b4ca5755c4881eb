"""Hold running sessions to a plan that changed, or to a place that became free."""

from uuid import UUID

from services.trading.domain import Entries, sessions_within
from services.trading.queries import entitlements, sessions
from shared.chassis.postgres import Connection


async def hold_to_plan(connection: Connection, user_id: int) -> None:
    """The sessions started first keep entering, the others may only leave. Whoever calls has locked the plan."""
    limits = await entitlements.get_plan_limits(connection, user_id, lock=True)
    if limits is None:
        return
    running = await sessions.list_running(connection, user_id)
    within = sessions_within(limits, running)
    entries = await sessions.get_entries(connection, user_id)
    for session in running:
        now_limited = session.session_id not in within
        was = entries.get(session.session_id)
        if was == "ALLOWED" and now_limited:
            await _note_plan(connection, user_id, session.session_id, "PLAN_LIMIT", "PLAN_LIMIT", limits.plan)
        elif was == "PLAN_LIMIT" and not now_limited:
            await _note_plan(connection, user_id, session.session_id, "ALLOWED", "PLAN_LIMIT_LIFTED", limits.plan)


async def _note_plan(
    connection: Connection, user_id: int, session_id: UUID, entries: Entries, kind: str, plan: str
) -> None:
    session = await sessions.get_session(connection, user_id, session_id)
    await sessions.set_entries(connection, user_id, [session_id], entries)
    after = session.last_bar if session else None
    await sessions.insert_restriction(connection, user_id, session_id, kind, plan, after)
