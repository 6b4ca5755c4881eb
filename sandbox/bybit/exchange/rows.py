"""Snapshots of what changed, with every value that Bybit's messages have.

They are frozen, so that they may be delivered at any time. Amounts are decimals; None is the empty string of
Bybit's messages. Times are milliseconds. `side` is Buy or Sell.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Side = Literal["Buy", "Sell"]
Topic = Literal["order", "execution", "position", "wallet"]


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order. A market order's `price` is the worst price of the band; a stop's is 0."""

    symbol: str
    order_id: str
    order_link_id: str
    parent_order_link_id: str
    side: Side
    order_type: str
    price: Decimal
    qty: Decimal
    time_in_force: str
    order_status: str
    cancel_type: str
    reject_reason: str
    create_type: str
    stop_order_type: str
    reduce_only: bool
    close_on_trigger: bool
    leaves_qty: Decimal
    leaves_value: Decimal
    cum_exec_qty: Decimal
    cum_exec_value: Decimal
    cum_exec_fee: Decimal
    fee_currency: str
    avg_price: Decimal | None
    closed_pnl: Decimal
    last_price_on_created: Decimal | None
    trigger_price: Decimal | None
    trigger_direction: int
    trigger_by: str
    tpsl_mode: str
    take_profit: Decimal | None
    stop_loss: Decimal | None
    tp_trigger_by: str
    sl_trigger_by: str
    tp_limit_price: Decimal | None
    sl_limit_price: Decimal | None
    slippage_tolerance_type: str
    slippage_tolerance: Decimal | None
    created_ms: int
    updated_ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """A fill, or another booking on a position. Of funding, `exec_fee` is the payment: positive when paid."""

    symbol: str
    exec_id: str
    exec_type: str
    order_id: str
    order_link_id: str
    parent_order_link_id: str
    side: Side
    order_type: str
    stop_order_type: str
    create_type: str
    order_price: Decimal
    order_qty: Decimal
    leaves_qty: Decimal
    exec_price: Decimal
    exec_qty: Decimal
    exec_value: Decimal
    exec_fee: Decimal
    fee_rate: Decimal
    fee_currency: str
    exec_pnl: Decimal
    closed_size: Decimal
    is_maker: bool
    mark_price: Decimal
    exec_ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A position; `side` "" and `size` 0 if it is flat. Stops are 0 if there are none."""

    symbol: str
    side: Literal["Buy", "Sell", ""]
    size: Decimal
    entry_price: Decimal
    leverage: Decimal
    position_value: Decimal
    mark_price: Decimal
    liq_price: Decimal | None
    bust_price: Decimal | None
    break_even_price: Decimal | None
    position_im: Decimal
    position_mm: Decimal
    position_balance: Decimal
    unrealised_pnl: Decimal
    cur_realised_pnl: Decimal
    cum_realised_pnl: Decimal
    tpsl_mode: str
    take_profit: Decimal
    stop_loss: Decimal
    trailing_stop: Decimal
    active_price: Decimal
    trade_mode: int  # 0 cross, 1 isolated
    position_status: str
    risk_limit_value: Decimal
    created_ms: int
    updated_ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class WalletRow:
    """The account in USDT, its only coin (but for fees paid in MNT, which are counted and not held)."""

    coin: str
    wallet_balance: Decimal
    equity: Decimal
    unrealised_pnl: Decimal
    available: Decimal
    order_im: Decimal
    position_im: Decimal
    position_mm: Decimal
    cum_realised_pnl: Decimal


@dataclass(frozen=True, slots=True)
class ClosedPnlRow:
    """What one order closed. `closed_pnl` is after the fees of opening and closing."""

    symbol: str
    order_id: str
    side: Side
    order_type: str
    exec_type: str
    qty: Decimal
    order_price: Decimal
    leverage: Decimal
    closed_size: Decimal
    cum_entry_value: Decimal
    cum_exit_value: Decimal
    avg_entry_price: Decimal
    avg_exit_price: Decimal
    closed_pnl: Decimal
    open_fee: Decimal
    close_fee: Decimal
    fill_count: int
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A change of the wallet: `change` = `cash_flow` + `funding` - `fee`; negative funding is paid."""

    transaction_id: str
    type: str
    symbol: str
    side: Literal["Buy", "Sell", "None"]
    order_id: str
    order_link_id: str
    trade_id: str
    qty: Decimal
    size: Decimal
    trade_price: Decimal
    cash_flow: Decimal
    funding: Decimal | None
    fee: Decimal
    fee_rate: Decimal
    change: Decimal
    cash_balance: Decimal
    currency: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """One row of one account, in the order in which it happened on the whole exchange (`seq`)."""

    uid: str
    topic: Topic
    row: OrderRow | ExecutionRow | PositionRow | WalletRow
    seq: int
    at_ms: int
