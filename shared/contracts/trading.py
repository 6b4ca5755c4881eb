"""Events of sessions and trades that trading publishes."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.contracts.envelope import Event
from shared.contracts.types import Amount, Instant

Mode = Literal["PAPER", "LIVE"]
Side = Literal["LONG", "SHORT"]


class SessionStarted(Event):
    topic: ClassVar[str] = "session.started"
    source: ClassVar[str] = "trading"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"

    session_id: UUID
    symbol: str
    interval: str
    mode: Mode
    initial_balance: Amount
    strategy_id: UUID
    strategy_name: str
    strategy_hash: str
    started_at: Instant  # exchange time


class SessionStopped(Event):
    topic: ClassVar[str] = "session.stopped"
    source: ClassVar[str] = "trading"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"

    session_id: UUID
    symbol: str
    mode: Mode
    initial_balance: Amount
    final_balance: Amount
    total_pnl: Amount
    total_trades: int
    reason: str
    stopped_at: Instant  # exchange time


class SessionAlarmed(Event):
    """A session needs the tenant's attention. Published once for each cause.

    `feed_silent`: no candles arrive, so it opens no position until they do. `session_failed`: an internal error
    prevents its next step. `waiting_for_history`, `waiting_for_first_bar`, `waiting_for_feed`: it has not received
    its first candle a minute after one was due.

    Of a live session: `order_refused`, `stop_refused`, `leverage_refused` and `key_rejected` (by the exchange; its
    words are in `details`), `unprotected` (its position has no stop on the exchange), `foreign_change` (a position
    or order is not its own: no entries until a person adopts or ignores it), `unknown_order`, `entry_stale`,
    `fee_in_other_coin`, `kill_switch_on` and `account_risk` (no entries). Other reasons may be added.
    """

    topic: ClassVar[str] = "session.alarmed"
    source: ClassVar[str] = "trading"

    session_id: UUID
    symbol: str
    reason: str
    since: Instant  # exchange time
    details: tuple[str, ...] = ()  # added after version 1 was first published


class ExchangeAccountAlarmed(Event):
    """An exchange account needs the tenant's attention. Published once for each cause, while it holds.

    `key_rejected`: the exchange does not accept the key any more. `key_expired`, `key_expires_in_30_days`,
    `key_expires_in_7_days`, `key_expires_in_1_days`: by `expires_at`. `permissions_grew`: the key may do more than
    before; `details` names what. `account_refused`: the account changed so that bots may not enter; `details` names
    the fields. Other reasons may be added.
    """

    topic: ClassVar[str] = "exchange_account.alarmed"
    source: ClassVar[str] = "trading"

    exchange_account_id: UUID
    account_name: str
    environment: str
    reason: str
    details: tuple[str, ...]
    expires_at: Instant | None
    since: Instant


class TradeOpened(Event):
    topic: ClassVar[str] = "trade.opened"
    source: ClassVar[str] = "trading"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"

    trade_id: UUID
    session_id: UUID
    symbol: str
    side: Side
    entry_time: Instant
    entry_price: Amount
    quantity: Amount
    strategy_id: UUID
    strategy_hash: str
    is_paper_trade: bool
    late: bool = False


class TradeClosed(Event):
    """A complete round trip. `pnl` is net of `fee`, the fees of all its fills."""

    topic: ClassVar[str] = "trade.closed"
    source: ClassVar[str] = "trading"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"

    trade_id: UUID
    session_id: UUID
    symbol: str
    side: Side
    entry_time: Instant
    exit_time: Instant
    entry_price: Amount
    exit_price: Amount
    quantity: Amount
    pnl: Amount
    pnl_percentage: Amount
    fee: Amount
    reason: str
    strategy_id: UUID
    strategy_name: str
    strategy_hash: str
    is_paper_trade: bool
    late: bool = False
