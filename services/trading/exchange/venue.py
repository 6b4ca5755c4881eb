"""What trading needs of an exchange account, whichever exchange it is.

A command (an order, a cancellation, a setting) ends in one of four ways: it returns (done), or it raises `Refused`
(definitely not done, and the same command would be refused again), `NotSent` (definitely not done, and may be
repeated unchanged), or `OutcomeUnknown` (it may have been done: ask, never repeat it). A question returns or raises
`VenueUnavailable`. A revoked or expired key raises `KeyRejected`, which is a refusal; questions raise it too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Protocol

from shared.strategy.bars import Side

OrderSide = Literal["BUY", "SELL"]


class Refused(Exception):
    """The exchange refused the command. `code` is its own; `message` its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message


class KeyRejected(Refused):
    """The key is revoked, expired, not valid from this address, or lacks the permission."""


class LinkIdUsed(Refused):
    """An order with this link id was created before: by an earlier try of the same command."""


class StopPassed(Refused):
    """The price has passed the stop already."""


class NotSent(Exception):
    """The command was not carried out, and may be repeated after `wait_s` seconds."""

    def __init__(self, message: str, wait_s: float = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class OutcomeUnknown(Exception):
    """The command may have been carried out: its answer was lost or says nothing."""


class VenueUnavailable(Exception):
    """A question got no usable answer; ask again later."""


class OrderStatus(StrEnum):
    """`TRIGGERED` is transient; `UNTRIGGERED` is a conditional order that waits."""

    UNTRIGGERED = "UNTRIGGERED"
    TRIGGERED = "TRIGGERED"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"  # perhaps after partial fills
    REJECTED = "REJECTED"
    DEACTIVATED = "DEACTIVATED"  # a conditional order that was cancelled before its trigger

    @property
    def is_open(self) -> bool:
        return self in (self.UNTRIGGERED, self.TRIGGERED, self.NEW, self.PARTIALLY_FILLED)


class ExecutionKind(StrEnum):
    """Why an execution happened. `OTHER`: what bots do not cause (delivery, a moved position, …)."""

    TRADE = "TRADE"
    FUNDING = "FUNDING"
    LIQUIDATION = "LIQUIDATION"
    ADL = "ADL"
    OTHER = "OTHER"


class OrderOrigin(StrEnum):
    """What created an order or executed it: a request, or the position's own stop or target on the exchange."""

    REQUEST = "REQUEST"
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP = "TRAILING_STOP"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class SlippageTolerance:
    """How far from the price at arrival a market order may fill."""

    kind: Literal["TICKS", "PERCENT"]
    value: Decimal


@dataclass(frozen=True, slots=True)
class NewOrder:
    """`price` None: a market order. `stop_loss`: attached to the position that the order opens, by last price.

    A limit order is good until cancelled. The exchange refuses a stop together with `reduce_only` or `slippage`.
    `send_until`: by the loop's clock; from then on it is not sent any more. `closes_all`: it closes the position,
    which may be below the exchange's smallest order.
    """

    link_id: str  # unique for the account, at most 36 characters
    symbol: str
    side: OrderSide
    quantity: Decimal
    price: Decimal | None = None
    reduce_only: bool = False
    stop_loss: Decimal | None = None
    slippage: SlippageTolerance | None = None
    send_until: float | None = None
    closes_all: bool = False


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """`parent_link_id`: of the order to which this stop or target was attached at creation."""

    order_id: str
    link_id: str | None
    parent_link_id: str | None
    symbol: str
    side: OrderSide
    status: OrderStatus
    origin: OrderOrigin
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None
    trigger_price: Decimal | None
    reduce_only: bool
    reason: str | None  # why it was rejected or cancelled, in the exchange's words
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class VenueExecution:
    """One fill, or another booking on a position.

    `quantity` is above 0; of funding, it is the position's. `fee` is positive when paid; of funding, it is the
    payment.
    """

    execution_id: str
    order_id: str
    link_id: str | None
    parent_link_id: str | None
    symbol: str
    side: OrderSide
    kind: ExecutionKind
    origin: OrderOrigin
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_coin: str
    closed_quantity: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """`side` None and `quantity` 0: flat. `stop_loss` None: the position has no stop on the exchange."""

    symbol: str
    side: Side | None
    quantity: Decimal
    entry_price: Decimal | None
    leverage: Decimal
    stop_loss: Decimal | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class VenueWallet:
    """Amounts in the settle coin."""

    balance: Decimal
    equity: Decimal
    available: Decimal


class Venue(Protocol):
    """One exchange account. Linear USDT contracts, one-way mode."""

    async def create_order(self, order: NewOrder) -> str:
        """Return the exchange's order id: the order is accepted, and not yet more. Raises as a command.

        A link id that the account has used already raises LinkIdUsed, never creates a second order.
        """

    async def cancel_order(self, symbol: str, link_id: str) -> None:
        """Cancel an order; one that is closed already raises Refused. Raises as a command."""

    async def cancel_all(self, symbol: str) -> None:
        """Cancel all open orders of a symbol, conditional ones too. Raises as a command."""

    async def set_stop(self, symbol: str, price: Decimal | None) -> None:
        """Set or remove the stop of the whole position; an unchanged one is done. Raises as a command."""

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage; an unchanged one is done. Raises as a command."""

    async def find_order(self, symbol: str, link_id: str) -> VenueOrder | None:
        """Return the order, open or closed. Raises VenueUnavailable.

        None: neither the open orders, nor the history, nor the executions of the last days have it, which proves
        nothing until the exchange's delay has passed.
        """

    async def list_open_orders(self, symbols: Collection[str] = ()) -> Sequence[VenueOrder]:
        """Return the open orders of these symbols, or of all; stops and targets of positions included.
        Raises VenueUnavailable."""

    async def list_positions(self, symbols: Collection[str] = ()) -> Sequence[VenuePosition]:
        """Return the position of each of these symbols, also if it is flat, or of all symbols where there is one.
        Raises VenueUnavailable."""

    async def get_position(self, symbol: str) -> VenuePosition:
        """Return the position of a symbol, also if it is flat. Raises VenueUnavailable."""

    async def list_executions(self, since: datetime, symbols: Collection[str] = ()) -> Sequence[VenueExecution]:
        """Return the executions of these symbols, or of all, from this time on, oldest first, however many windows
        and pages they take. Raises VenueUnavailable."""

    async def get_wallet(self) -> VenueWallet:
        """Raises VenueUnavailable."""

    async def server_time(self) -> datetime:
        """Raises VenueUnavailable."""
