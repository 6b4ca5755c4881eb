"""The state of a symbol on an exchange account, which a live session needs before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from services.trading.exchange.venue import VenueOrder, VenuePosition


@dataclass(frozen=True, slots=True)
class Contract:
    """The exchange's facts of a contract. `symbol_type`: empty for crypto coins, else `stock`, `commodity`, …"""

    contract_type: str
    settle_coin: str
    status: str
    symbol_type: str
    max_leverage: Decimal
    max_order_quantity: Decimal  # of a market order


@dataclass(frozen=True, slots=True)
class SymbolState:
    """The position and the open orders of a symbol, and its contract."""

    position: VenuePosition
    orders: Sequence[VenueOrder]
    contract: Contract


class SymbolReader(Protocol):
    async def read_symbol(self, user_id: int, account_id: UUID, symbol: str) -> SymbolState:
        """Ask the exchange with the account's key. Raises KeyRejected, VenueUnavailable."""
