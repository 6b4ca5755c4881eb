"""Apply the plan's limits to running sessions after the plan changed or a place became free."""

from uuid import UUID

from services.trading.domain import Entries, Limit, limited_sessions
from services.trading.queries import entitlements, sessions
from services.trading.queries.restrictions import Restriction, insert_restriction
from shared.chassis.postgres import Connection


async def hold_to_plan(connection: Connection, user_id: int) -> None:
    """Let the sessions started first enter, as many as fit into the plan; the others may only exit.

    The caller has already locked the plan.
    """
    limits = await entitlements.find_plan_limits(connection, user_id, lock=True)
    if limits is None:
        return
    running = await sessions.list_running(connection, user_id)
    limited = limited_sessions(limits, running)
    entries = await sessions.get_entries(connection, user_id)
    for session in running:
        limit = limited.get(session.session_id)
        current = entries.get(session.session_id)
        if current == "ALLOWED" and limit is not None:
            await _set_entries(connection, user_id, session.session_id, "PLAN_LIMIT", limits.plan, limit)
        elif current == "PLAN_LIMIT" and limit is None:
            await _set_entries(connection, user_id, session.session_id, "ALLOWED", limits.plan, None)


async def _set_entries(
    connection: Connection, user_id: int, session_id: UUID, entries: Entries, plan: str, limit: Limit | None
) -> None:
    session = await sessions.get_session(connection, user_id, session_id)
    await sessions.set_entries(connection, user_id, [session_id], entries)
    await sessions.touch_sessions(connection, [user_id], [session_id])
    note = Restriction(
        "PLAN_LIMIT_LIFTED" if limit is None else "PLAN_LIMIT",
        reason=plan,
        after_bar=session.last_bar,
        limit_name=limit.name if limit else None,
        limit_value=limit.limit if limit else None,
    )
    await insert_restriction(connection, user_id, session_id, note)
