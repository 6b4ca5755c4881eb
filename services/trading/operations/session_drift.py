"""The drift of a session: its closed trades beside those of a backtest on the bars that it has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from uuid import UUID

from services.trading.drift import Drift, LiveTrade, compare_trades
from services.trading.operations.verify_session import SessionRecord, Verification, read_record, verify
from services.trading.queries.drift import list_live_trades
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class Traded:
    """A session with its closed trades, and the bar that decided the entry of the open one."""

    recorded: SessionRecord
    closed: Sequence[LiveTrade]
    open_decided_ms: int | None


async def read_trades(connection: Connection, user_id: int, session_id: UUID, most_bars: int) -> Traded:
    """Raises NotFound, NotVerifiable."""
    recorded = await read_record(connection, user_id, session_id, most_bars)
    return Traded(recorded, *await list_live_trades(connection, user_id, session_id))


def drift_of(traded: Traded) -> list[Drift]:
    """Run the backtest under the session's restrictions, but with the entries that were missed; compare the trades.

    A trade that is still open on one side is left out on the other. Raises NotVerifiable.
    """
    recorded = traded.recorded
    verification = verify(replace(recorded, missed=frozenset()))
    decided_ms = {after.open_time_ms: before.open_time_ms for before, after in pairwise(recorded.bars)}
    live = traded.closed
    if recorded.session.is_paper_trading:  # without orders
        live = [replace(trade, decided_ms=decided_ms.get(trade.entry_ms)) for trade in live]
    still_open = _open_in_backtest(verification, decided_ms)
    backtest = [
        trade
        for trade in verification.trades
        if traded.open_decided_ms is None or decided_ms.get(trade.entry_time) != traded.open_decided_ms
    ]
    live = [trade for trade in live if trade.decided_ms is None or trade.decided_ms not in still_open]
    return compare_trades(live, backtest, decided_ms)


def _open_in_backtest(verification: Verification, decided_ms: Mapping[int, int]) -> set[int | None]:
    opened = {decided_ms.get(fill.time_ms) for fill in verification.backtest if fill.action == "open"}
    return opened - {decided_ms.get(trade.entry_time) for trade in verification.trades}
