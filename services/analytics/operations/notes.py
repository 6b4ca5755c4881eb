"""What a user writes to an analysis of his."""

from uuid import UUID

from services.analytics.domain.analysis_ids import moment_of
from services.analytics.queries import market
from services.analytics.queries.market import AnalysisRow
from shared.chassis.errors import NotFound
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection, Database


async def get_analysis(database: Database, user_id: int, analysis_id: UUID) -> AnalysisRow:
    """Raises NotFound."""
    async with database.tenant(user_id) as connection:
        return await _find(connection, user_id, analysis_id)


async def change_notes(
    database: Database, user_id: int, analysis_id: UUID, notes: str | None, seen: IfMatch
) -> AnalysisRow:
    """Raises NotFound, PreconditionFailed."""
    async with database.tenant(user_id) as connection:
        row = await _find(connection, user_id, analysis_id, lock=True)
        seen.check(row.version)
        await market.update_notes(connection, user_id, row.watch_id, row.timestamp, notes)
        return await _find(connection, user_id, analysis_id)


async def _find(connection: Connection, user_id: int, analysis_id: UUID, *, lock: bool = False) -> AnalysisRow:
    """Of the few that a user has of one moment."""
    if (moment := moment_of(analysis_id)) is not None:
        for row in await market.list_analyses_at(connection, user_id, moment, lock=lock):
            if row.analysis_id == analysis_id:
                return row
    raise NotFound
