"""The exchange: requests of accounts, the market's prices, and what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sandbox.bybit.exchange.rows import (
    Change,
    ClosedPnlRow,
    ExecutionRow,
    OrderRow,
    PositionRow,
    TransactionRow,
    WalletRow,
)
from sandbox.bybit.exchange.terms import AccountTerms, Bar, InstrumentFilters, Level, Rules

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account now. Histories are oldest first, and are not copied: read them before the next call."""

    uid: str
    terms: AccountTerms
    lpa_perp: bool
    wallet: WalletRow
    positions: Mapping[str, PositionRow]  # of each symbol that the account has used, flat ones too
    leverages: Mapping[str, Decimal]  # of every symbol
    modes: Mapping[str, int]  # the position mode of every symbol: 0 one-way, 3 hedge
    open_orders: Sequence[OrderRow]
    closed_orders: Sequence[OrderRow]  # in the order in which they closed
    executions: Sequence[ExecutionRow]
    closed_pnl: Sequence[ClosedPnlRow]
    transactions: Sequence[TransactionRow]


class Exchange:
    """Many accounts on one set of linear contracts.

    Requests take the JSON body of the Bybit request, and raise Refusal; nothing has changed then. Accounts do not
    trade with each other: each order sees the market's price, and the liquidity that is set for the symbol.

    After `at_close` market orders wait for the next `at_open` (stepping); after any other call they fill at once.
    """

    def __init__(self, instruments: Mapping[str, InstrumentFilters], rules: Rules | None = None) -> None:
        raise NotImplementedError

    def open_account(self, uid: str, terms: AccountTerms, now_ms: int = 0) -> None:
        """Raises ValueError if the account exists or a symbol is unknown."""
        raise NotImplementedError

    def close_account(self, uid: str) -> None:
        """Forget an account, with its orders and positions. Raises KeyError."""
        raise NotImplementedError

    # Requests of an account.

    def create_order(self, uid: str, body: Body, now_ms: int) -> OrderRow:
        """Return the order as accepted; its fate is in the changes."""
        raise NotImplementedError

    def amend_order(self, uid: str, body: Body, now_ms: int) -> OrderRow:
        raise NotImplementedError

    def cancel_order(self, uid: str, body: Body, now_ms: int, *, loses: bool = False) -> OrderRow:
        """Cancel an order. With `loses` it fills before the cancellation arrives: two Filled rows follow."""
        raise NotImplementedError

    def cancel_all(self, uid: str, body: Body, now_ms: int) -> list[OrderRow]:
        raise NotImplementedError

    def set_leverage(self, uid: str, body: Body, now_ms: int) -> None:
        raise NotImplementedError

    def switch_mode(self, uid: str, body: Body, now_ms: int) -> None:
        raise NotImplementedError

    def set_trading_stop(self, uid: str, body: Body, now_ms: int) -> None:
        raise NotImplementedError

    def set_limit_price_action(self, uid: str, body: Body, now_ms: int) -> None:
        """`modifyEnable` True: limit orders beyond the price band are refused (lpaPerp)."""
        raise NotImplementedError

    # The market.

    def at_open(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """A bar opens: waiting market orders fill in order of arrival, then stops, then limit orders, that the open
        has passed; all at the open."""
        raise NotImplementedError

    def at_rest(self, symbol: str, bar: Bar, now_ms: int) -> None:
        """The rest of the bar: from the open to the extreme against each position, to the other one, to the close."""
        raise NotImplementedError

    def at_close(self, symbol: str, bar: Bar, now_ms: int) -> None:
        """The bar is confirmed: market orders from now on wait for the next open."""
        raise NotImplementedError

    def at_price(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """The price moves from the last one to this one; what is on the way fills at its own price."""
        raise NotImplementedError

    def set_mark_price(self, symbol: str, price: Decimal | None, now_ms: int) -> None:
        """Fix the mark price; None: it follows the last price again."""
        raise NotImplementedError

    def set_liquidity(self, symbol: str, levels: Sequence[Level] | None) -> None:
        """The liquidity that each order finds at each price of the market, nearest first; None: without limit.

        One level is one execution. A resting order gets what lies at 0 ticks each time the market reaches it.
        """
        raise NotImplementedError

    def set_status(self, symbol: str, status: str) -> None:
        """Trading, PreLaunch, Delivering or Closed."""
        raise NotImplementedError

    def fund(self, symbol: str, rate: Decimal, now_ms: int) -> None:
        """Settle funding: with a rate above 0, longs pay."""
        raise NotImplementedError

    def deleverage(self, uid: str, symbol: str, quantity: Decimal, price: Decimal, now_ms: int) -> None:
        """Close a part of a position by auto-deleveraging. Raises ValueError if the position is smaller."""
        raise NotImplementedError

    # Reading.

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call, in order."""
        raise NotImplementedError

    def account(self, uid: str) -> AccountState:
        """Raises KeyError."""
        raise NotImplementedError

    def find_order(self, uid: str, order_id: str = "", order_link_id: str = "") -> OrderRow | None:
        """Return an order, open or closed, by its id or link id."""
        raise NotImplementedError

    def last_price(self, symbol: str) -> Decimal | None:
        raise NotImplementedError

    def mark_price(self, symbol: str) -> Decimal | None:
        raise NotImplementedError

    def price_limits(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the highest price of a buy and the lowest of a sell now, as market/price-limit."""
        raise NotImplementedError
