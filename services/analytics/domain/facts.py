"""Facts as trading published them: finished trades, and what sessions brought in and gave back."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class TradeFact:
    """A finished round trip; `pnl` is net of `fee`."""

    trade_id: UUID
    symbol: str
    strategy_id: UUID
    strategy_name: str
    exit_time: datetime
    pnl: Decimal
    fee: Decimal


@dataclass(frozen=True)
class SessionFact:
    """What a session brought in and gave back, and when."""

    initial_balance: Decimal
    started_at: datetime
    final_balance: Decimal | None = None
    stopped_at: datetime | None = None


def local_date(moment: datetime, zone: ZoneInfo) -> date:
    """The date that a clock of the zone shows: the day to which a trade or a flow belongs."""
    return moment.astimezone(zone).date()
