"""An order and its life."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from sandbox.bybit.exchange.amounts import ZERO, quotient
from sandbox.bybit.exchange.rows import OrderRow, Side

UNTRIGGERED, TRIGGERED, NEW, PARTIALLY_FILLED = "Untriggered", "Triggered", "New", "PartiallyFilled"
FILLED, CANCELLED, REJECTED, DEACTIVATED = "Filled", "Cancelled", "Rejected", "Deactivated"
RISING, FALLING = 1, 2
"""Trigger directions."""

PARTIAL_STOPS = ("PartialTakeProfit", "PartialStopLoss")
POSITION_STOPS = ("TakeProfit", "StopLoss", "TrailingStop", *PARTIAL_STOPS)
LOSS_STOPS = ("StopLoss", "TrailingStop", "PartialStopLoss")
"""Values of stopOrderType; the stops that belong to a position, and those on its losing side."""


def opposite(side: Side) -> Side:
    return "Sell" if side == "Buy" else "Buy"


@dataclass(slots=True)
class AttachedStops:
    """Take profit and stop loss that an order brings to the position it opens."""

    mode: Literal["Full", "Partial"]
    take_profit: Decimal | None
    stop_loss: Decimal | None
    tp_trigger_by: str
    sl_trigger_by: str
    tp_limit_price: Decimal | None
    sl_limit_price: Decimal | None


@dataclass(slots=True)
class Trail:
    """A trailing stop: its trigger stays `distance` behind the best price since it became active."""

    distance: Decimal
    active_price: Decimal | None
    best: Decimal | None  # None: not active yet


@dataclass(slots=True)
class Order:
    """`price` is the limit of a limit order, and the worst price of a market order. `cap` is the worst price at
    which a market order with a slippage tolerance may fill. `is_waiting`: it executes at the next open.
    """

    symbol: str
    order_id: str
    link_id: str
    side: Side
    is_market: bool
    price: Decimal
    qty: Decimal
    time_in_force: str
    created_ms: int
    status: str = NEW
    parent_link_id: str = ""
    reduce_only: bool = False
    close_on_trigger: bool = False
    create_type: str = "CreateByUser"
    stop_order_type: str = ""
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: str = ""
    tpsl_mode: str = ""
    attached: AttachedStops | None = None
    origin: AttachedStops | None = None  # of a partial stop: what it was attached by
    trail: Trail | None = None
    pair: "Order | None" = None  # the other one of a partial take profit and stop loss
    slippage_type: str = ""
    slippage: Decimal | None = None
    cap: Decimal | None = None
    last_price: Decimal | None = None
    is_waiting: bool = False
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"
    updated_ms: int = 0
    filled: Decimal = ZERO
    filled_value: Decimal = ZERO
    fee: Decimal = ZERO
    fee_currency: str = "USDT"
    closed_pnl: Decimal = ZERO

    @property
    def leaves(self) -> Decimal:
        return self.qty - self.filled

    @property
    def only_reduces(self) -> bool:
        return self.reduce_only or self.close_on_trigger

    @property
    def is_buy(self) -> bool:
        return self.side == "Buy"

    @property
    def is_open(self) -> bool:
        return self.status in (UNTRIGGERED, TRIGGERED, NEW, PARTIALLY_FILLED)

    @property
    def is_position_stop(self) -> bool:
        return self.stop_order_type in POSITION_STOPS

    @property
    def is_conditional(self) -> bool:
        """Whether it waits for its trigger."""
        return self.status == UNTRIGGERED

    def is_worse(self, price: Decimal, than: Decimal) -> bool:
        """Return whether it would rather fill at `than`."""
        return price > than if self.side == "Buy" else price < than

    def to_row(self, seq: int) -> OrderRow:
        stops = self.attached
        is_open = self.is_open
        return OrderRow(
            symbol=self.symbol,
            order_id=self.order_id,
            order_link_id=self.link_id,
            parent_order_link_id=self.parent_link_id,
            side=self.side,
            order_type="Market" if self.is_market else "Limit",
            price=self.price,
            qty=self.qty,
            time_in_force=self.time_in_force,
            order_status=self.status,
            cancel_type=self.cancel_type,
            reject_reason=self.reject_reason,
            create_type=self.create_type,
            stop_order_type=self.stop_order_type,
            reduce_only=self.reduce_only,
            close_on_trigger=self.close_on_trigger,
            leaves_qty=self.leaves if is_open else ZERO,
            leaves_value=self.leaves * self.price if is_open else ZERO,
            cum_exec_qty=self.filled,
            cum_exec_value=self.filled_value,
            cum_exec_fee=self.fee,
            fee_currency=self.fee_currency,
            avg_price=quotient(self.filled_value, self.filled) if self.filled else None,
            closed_pnl=self.closed_pnl,
            last_price_on_created=self.last_price,
            trigger_price=self.trigger_price,
            trigger_direction=self.trigger_direction,
            trigger_by=self.trigger_by,
            tpsl_mode=stops.mode if stops else self.tpsl_mode,
            take_profit=stops.take_profit if stops else None,
            stop_loss=stops.stop_loss if stops else None,
            tp_trigger_by=stops.tp_trigger_by if stops else "",
            sl_trigger_by=stops.sl_trigger_by if stops else "",
            tp_limit_price=stops.tp_limit_price if stops else None,
            sl_limit_price=stops.sl_limit_price if stops else None,
            slippage_tolerance_type=self.slippage_type,
            slippage_tolerance=self.slippage,
            created_ms=self.created_ms,
            updated_ms=self.updated_ms,
            seq=seq,
        )
