"""Answer a foreign change on the exchange: what is not the session's own becomes its own, or is left alone."""

from uuid import UUID

from services.trading.operations.pause_session import lock_session
from services.trading.orders.store import FreezeAnswer
from services.trading.queries import controls, sessions
from services.trading.queries.sessions import SessionRow
from shared.chassis.postgres import Connection


async def answer_freeze(connection: Connection, user_id: int, session_id: UUID, answer: FreezeAnswer) -> SessionRow:
    """Record the answer, which the session's worker carries out; then entries are allowed again. The last answer
    before that counts; without a foreign change it does nothing. Raises NotFound."""
    session = await lock_session(connection, user_id, session_id)
    if not await controls.set_answer(connection, user_id, session_id, answer):
        return session
    await sessions.touch_sessions(connection, [user_id], [session_id])
    return await sessions.get_session(connection, user_id, session_id)
