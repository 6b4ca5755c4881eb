"""Facts as trading published them: closed trades, and the capital of sessions."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class TradeFact:
    """A closed trade (round trip); `pnl` is net of `fee`."""

    trade_id: UUID
    symbol: str
    strategy_id: UUID
    strategy_name: str
    exit_time: datetime
    pnl: Decimal
    fee: Decimal


@dataclass(frozen=True)
class SessionFact:
    """The capital of a session at its start and, if it has stopped, at its end."""

    initial_balance: Decimal
    started_at: datetime
    final_balance: Decimal | None = None
    stopped_at: datetime | None = None


def local_date(moment: datetime, zone: ZoneInfo) -> date:
    """Return the date in the zone: the day to which a trade or a flow belongs."""
    return moment.astimezone(zone).date()
