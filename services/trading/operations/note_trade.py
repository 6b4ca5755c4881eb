"""Change a trade's notes."""

from uuid import UUID

from services.trading.queries import trades
from services.trading.queries.trades import TradeRow
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection


async def note_trade(
    connection: Connection, user_id: int, trade_id: UUID, notes: str | None, if_match: IfMatch
) -> TradeRow:
    """Set the notes, also of a closed trade. Raises NotFound, PreconditionFailed."""
    trade = await trades.get_trade(connection, user_id, trade_id, lock=True)
    if_match.check(trade.revision)
    return await trades.update_notes(connection, user_id, trade_id, notes)
