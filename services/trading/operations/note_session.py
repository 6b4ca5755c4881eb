"""Change a session's notes."""

from uuid import UUID

from services.trading.queries import sessions
from services.trading.queries.sessions import SessionRow
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection


async def note_session(
    connection: Connection, user_id: int, session_id: UUID, notes: str | None, if_match: IfMatch
) -> SessionRow:
    """Set the notes, also of a stopped session. Raises NotFound, PreconditionFailed."""
    session = await sessions.get_session(connection, user_id, session_id, lock=True)
    if_match.check(session.revision)
    return await sessions.update_notes(connection, user_id, session_id, notes)
