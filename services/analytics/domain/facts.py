"""Facts as trading published them: closed trades, and the capital of sessions."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo


class ClosedTrade(Protocol):
    """What days are computed from."""

    @property
    def exit_time(self) -> datetime: ...
    @property
    def trade_id(self) -> UUID: ...
    @property
    def pnl(self) -> Decimal: ...


class Exit(NamedTuple):
    """The part of a trade from which days are computed; quickly made of many rows."""

    exit_time: datetime
    trade_id: UUID
    pnl: Decimal


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
