"""A user's notes on their analyses."""

from uuid import UUID

from services.analytics.domain.analysis_ids import candle_time_of
from services.analytics.queries import market
from services.analytics.queries.market import AnalysisRow
from shared.chassis.errors import NotFound
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection


async def change_notes(
    connection: Connection, user_id: int, analysis_id: UUID, notes: str | None, if_match: IfMatch
) -> AnalysisRow:
    """Replace the notes; None removes them. Raises NotFound, PreconditionFailed."""
    row = await get_analysis(connection, user_id, analysis_id, lock=True)
    if_match.check(row.version)
    await market.update_notes(connection, user_id, row.watch_id, row.timestamp, notes)
    return await get_analysis(connection, user_id, analysis_id)


async def get_analysis(
    connection: Connection, user_id: int, analysis_id: UUID, *, lock: bool = False
) -> AnalysisRow:
    """Find an analysis among the few that the user has at the time encoded in its id. Raises NotFound."""
    if (moment := candle_time_of(analysis_id)) is not None:
        for row in await market.list_analyses_at(connection, user_id, moment, lock=lock):
            if row.analysis_id == analysis_id:
                return row
    raise NotFound
