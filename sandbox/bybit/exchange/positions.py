"""A position: what is open, at what value, and what it has realised."""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from sandbox.bybit.exchange.amounts import ZERO, quotient
from sandbox.bybit.exchange.rows import Side


class Closing(NamedTuple):
    """The part of a position that a fill closed. `pnl` is before fees."""

    size: Decimal
    entry_value: Decimal
    exit_value: Decimal
    pnl: Decimal
    open_fee: Decimal
    close_fee: Decimal


NOTHING_CLOSED = Closing(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


@dataclass(slots=True)
class Position:
    """`net` is above 0 for a long, below for a short. `entry_value` and `open_fees` are of what is open now."""

    net: Decimal = ZERO
    entry_value: Decimal = ZERO
    open_fees: Decimal = ZERO
    cur_realised: Decimal = ZERO
    cum_realised: Decimal = ZERO
    status: str = "Normal"
    tpsl_mode: str = "Full"
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def size(self) -> Decimal:
        return abs(self.net)

    @property
    def side(self) -> Side | None:
        return None if not self.net else "Buy" if self.net > ZERO else "Sell"

    @property
    def is_long(self) -> bool:
        return self.net > ZERO

    @property
    def entry_price(self) -> Decimal:
        return quotient(self.entry_value, self.size) if self.net else ZERO

    def unrealised(self, price: Decimal) -> Decimal:
        value = self.net * price
        return value - self.entry_value if self.net > ZERO else value + self.entry_value

    def reducible(self, side: Side) -> Decimal:
        """Return how much an order of this side can close."""
        if side == "Sell":
            return self.net if self.net > ZERO else ZERO
        return -self.net if self.net < ZERO else ZERO

    def fill(self, side: Side, qty: Decimal, price: Decimal, fee: Decimal, at_ms: int) -> Closing:
        """Close what the fill closes, and open the rest. `fee` is in the settle coin."""
        closed = min(qty, self.reducible(side))
        closing = self._close(closed, price, fee if closed == qty else quotient(fee * closed, qty))
        opened = qty - closed
        if opened:
            if not self.net:
                self.cur_realised, self.created_ms = ZERO, at_ms
            self.net += opened if side == "Buy" else -opened
            self.entry_value += opened * price
            self.open_fees += fee - closing.close_fee
        self.realise(-fee)
        self.updated_ms = at_ms
        return closing

    def realise(self, amount: Decimal) -> None:
        self.cur_realised += amount
        self.cum_realised += amount

    def _close(self, qty: Decimal, price: Decimal, fee: Decimal) -> Closing:
        if not qty:
            return NOTHING_CLOSED
        size, value, open_fee = self.size, self.entry_value, self.open_fees
        if qty != size:
            value, open_fee = quotient(value * qty, size), quotient(open_fee * qty, size)
        exit_value = qty * price
        pnl = exit_value - value if self.is_long else value - exit_value
        self.net -= qty if self.is_long else -qty
        self.entry_value -= value
        self.open_fees -= open_fee
        self.realise(pnl)
        return Closing(qty, value, exit_value, pnl, open_fee, fee)
