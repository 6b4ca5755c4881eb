"""The state of a symbol on an exchange account, which a live session needs before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from services.trading.exchange.venue import VenueOrder, VenuePosition


@dataclass(frozen=True, slots=True)
class SymbolState:
    """The position and the open orders of a symbol, and the highest leverage that the account may set."""

    position: VenuePosition
    orders: Sequence[VenueOrder]
    max_leverage: Decimal


class SymbolReader(Protocol):
    async def read_symbol(self, user_id: int, account_id: UUID, symbol: str) -> SymbolState:
        """Ask the exchange with the account's key. Raises KeyRejected, VenueUnavailable."""
