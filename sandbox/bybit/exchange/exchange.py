"""The exchange: requests of accounts, the market's prices, and what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sandbox.bybit.exchange import movement, order_entry, settings
from sandbox.bybit.exchange.accounts import Account
from sandbox.bybit.exchange.amounts import ZERO, exact
from sandbox.bybit.exchange.fields import Body, Fields
from sandbox.bybit.exchange.funding import settle_funding
from sandbox.bybit.exchange.journal import Journal
from sandbox.bybit.exchange.liquidation import deleverage, liquidate_account
from sandbox.bybit.exchange.markets import Market
from sandbox.bybit.exchange.matching import lose_cancellation
from sandbox.bybit.exchange.orders import Order
from sandbox.bybit.exchange.publication import position_row, publish_wallet, wallet_row
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.requests import read_order
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
from sandbox.bybit.exchange.trading_stop import set_trading_stop


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
        self._rules = rules or Rules()
        self._journal = Journal()
        self._markets = {symbol: Market(filters, status=filters.status) for symbol, filters in instruments.items()}
        self._accounts: dict[str, Account] = {}

    def open_account(self, uid: str, terms: AccountTerms, now_ms: int = 0) -> None:
        """Raises ValueError if the account exists or a symbol is unknown."""
        if uid in self._accounts:
            raise ValueError(f"account {uid} exists")
        self._check_symbols(terms)
        self._journal.at_ms = now_ms
        account = self._accounts[uid] = Account(uid, terms, self._rules, self._journal)
        account.transfer(terms.balance)

    def close_account(self, uid: str) -> None:
        """Forget an account, with its orders and positions. Raises KeyError."""
        account = self._accounts.pop(uid)
        for market in self._markets.values():
            market.active.pop(uid, None)
            market.waiting = [(held, order) for held, order in market.waiting if held.account is not account]

    @exact
    def deposit(self, uid: str, amount: Decimal, now_ms: int) -> None:
        """Transfer into the account; below 0: out of it. Raises ValueError if that leaves less than nothing."""
        account = self._account(uid, now_ms)
        if account.wallet + amount < ZERO:
            raise ValueError(f"account {uid} has only {account.wallet}")
        account.transfer(amount)
        publish_wallet(account)

    def set_terms(self, uid: str, terms: AccountTerms, now_ms: int) -> None:
        """Replace an account's terms, but for the balance and the leverages. Raises ValueError."""
        self._check_symbols(terms)
        self._account(uid, now_ms).set_terms(terms)

    # Requests of an account.

    @exact
    def create_order(self, uid: str, body: Body, now_ms: int) -> OrderRow:
        """Return the order as it is after its arrival; what has happened to it is in the changes."""
        request = read_order(body)
        order = order_entry.create_order(self._account(uid, now_ms), self._market(request.symbol), request)
        return self._row(order)

    @exact
    def amend_order(self, uid: str, body: Body, now_ms: int) -> OrderRow:
        fields = Fields(body)
        market = self._market(fields.text("symbol", required=True))
        return self._row(order_entry.amend_order(self._account(uid, now_ms), market, fields))

    @exact
    def cancel_order(self, uid: str, body: Body, now_ms: int, *, loses: bool = False) -> OrderRow:
        """Cancel an order. With `loses` it fills before the cancellation arrives: two Filled rows follow."""
        fields = Fields(body)
        account = self._account(uid, now_ms)
        market = self._market(fields.text("symbol", required=True))
        order = order_entry.find_order(account, fields)
        holding = account.holding(market)
        if loses and not order.is_conditional:
            lose_cancellation(holding, order)
        else:
            order_entry.cancel_order(holding, order)
        return self._row(order)

    @exact
    def cancel_all(self, uid: str, body: Body, now_ms: int) -> list[OrderRow]:
        """Cancel the open orders of a symbol or coin, conditional orders and the stops of positions included.

        `orderFilter` narrows it: Order (active), StopOrder (conditional), tpslOrder (stops of positions).
        """
        fields = Fields(body)
        account = self._account(uid, now_ms)
        kind = fields.choice("orderFilter", "Order", "StopOrder", "tpslOrder")
        symbols = [market.filters.symbol for market in self._named(fields)]
        chosen = [
            (holding, order)
            for symbol, holding in account.holdings.items()
            for order in holding.open.values()
            if symbol in symbols and (not kind or kind == order_entry.filter_of(order))
        ]
        return [order_entry.cancel_order(holding, order) for holding, order in chosen if order.is_open]

    @exact
    def set_leverage(self, uid: str, body: Body, now_ms: int) -> None:
        fields = Fields(body)
        market = self._market(fields.text("symbol", required=True))
        settings.set_leverage(self._account(uid, now_ms), market, fields)

    @exact
    def switch_mode(self, uid: str, body: Body, now_ms: int) -> None:
        fields = Fields(body)
        settings.switch_mode(self._account(uid, now_ms), self._named(fields), fields)

    @exact
    def set_trading_stop(self, uid: str, body: Body, now_ms: int) -> None:
        fields = Fields(body)
        market = self._market(fields.text("symbol", required=True))
        set_trading_stop(self._account(uid, now_ms), market, fields)

    def set_limit_price_action(self, uid: str, body: Body, now_ms: int) -> None:
        """`modifyEnable` True: limit orders beyond the band are moved to its edge; False: refused (lpaPerp)."""
        fields = Fields(body)
        if not fields.has("modifyEnable"):
            raise Refusal(10001, "params error: modifyEnable invalid")
        self._account(uid, now_ms).lpa_perp = not fields.flag("modifyEnable")

    # The market.

    @exact
    def at_open(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """A bar opens. Waiting orders fill in the order of their arrival; then stops, then limit orders, that were
        there before and that the open has passed. All fill at the open.

        A stop that a waiting order has just brought to its position is looked at in `at_rest`.
        """
        self._journal.at_ms = now_ms
        movement.open_bar(self._markets[symbol], price)

    @exact
    def at_rest(self, symbol: str, bar: Bar, now_ms: int) -> None:
        """The rest of the bar: from the open to the extreme against each position, to the other, to the close."""
        self._journal.at_ms = now_ms
        movement.trade_bar(self._markets[symbol], bar)

    def at_close(self, symbol: str, bar: Bar, now_ms: int) -> None:
        """The bar is confirmed: market orders from now on wait for the next open."""
        self._journal.at_ms = now_ms
        market = self._markets[symbol]
        market.last, market.is_closed = bar.close, True

    @exact
    def at_price(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """The price moves from the last one to this one; what is on the way fills at its own price."""
        self._journal.at_ms = now_ms
        movement.move(self._markets[symbol], price)

    def at_end(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """No open will come any more: market orders from now on fill at this price; those that wait stay."""
        self._journal.at_ms = now_ms
        market = self._markets[symbol]
        market.last, market.is_closed = price, False

    @exact
    def set_mark_price(self, symbol: str, price: Decimal | None, now_ms: int) -> None:
        """Fix the mark price, and liquidate what it leaves without maintenance margin; None: it follows the last
        price again."""
        self._journal.at_ms = now_ms
        market = self._markets[symbol]
        market.fixed_mark = price
        movement.check_mark(market)

    def set_liquidity(self, symbol: str, levels: Sequence[Level] | None) -> None:
        """The liquidity that each order finds at each price of the market, nearest first; None: without limit.

        One level is one execution. A resting order gets what lies at 0 ticks each time the market reaches it.
        """
        self._markets[symbol].set_levels(levels)

    def set_status(self, symbol: str, status: str) -> None:
        """Trading, PreLaunch, Delivering or Closed."""
        self._markets[symbol].status = status

    @exact
    def fund(self, symbol: str, rate: Decimal, now_ms: int) -> None:
        """Settle funding: with a rate above 0, longs pay."""
        self._journal.at_ms = now_ms
        for holding in list(self._markets[symbol].active.values()):
            settle_funding(holding, rate)
            liquidate_account(holding.account)

    @exact
    def deleverage(self, uid: str, symbol: str, quantity: Decimal, price: Decimal, now_ms: int) -> None:
        """Close a part of a position by auto-deleveraging. Raises ValueError if the position is smaller."""
        deleverage(self._account(uid, now_ms).holding(self._markets[symbol]), quantity, price)

    # Reading.

    def take_changes(self) -> list[Change]:
        """Return the changes since the last call, in order."""
        return self._journal.take()

    @exact
    def account(self, uid: str) -> AccountState:
        """Raises KeyError."""
        account = self._accounts[uid]
        held = account.holdings
        return AccountState(
            uid=uid,
            terms=account.terms,
            lpa_perp=account.lpa_perp,
            wallet=wallet_row(account),
            positions={symbol: position_row(each, self._journal.seq) for symbol, each in held.items()},
            leverages={symbol: account.leverage(market) for symbol, market in self._markets.items()},
            modes={symbol: account.mode(market) for symbol, market in self._markets.items()},
            open_orders=[self._row(order) for each in held.values() for order in each.open.values()],
            closed_orders=account.closed_orders,
            executions=account.executions,
            closed_pnl=list(account.closed_pnl.values()),
            transactions=account.transactions,
        )

    @exact
    def find_order(self, uid: str, order_id: str = "", order_link_id: str = "") -> OrderRow | None:
        """Return an order, open or closed, by its id or link id."""
        account = self._accounts[uid]
        order = account.orders.get(order_id) if order_id else account.by_link.get(order_link_id)
        return None if order is None else self._row(order)

    def last_price(self, symbol: str) -> Decimal | None:
        return self._markets[symbol].last

    def mark_price(self, symbol: str) -> Decimal | None:
        market = self._markets[symbol]
        return market.last if market.fixed_mark is None else market.fixed_mark

    @exact
    def price_limits(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Return the highest price of a buy and the lowest of a sell now. Raises Refusal before the first price."""
        return self._markets[symbol].price_limits()

    def _account(self, uid: str, now_ms: int) -> Account:
        """Return the account for a call at this time."""
        self._journal.at_ms = now_ms
        return self._accounts[uid]

    def _check_symbols(self, terms: AccountTerms) -> None:
        unknown = {*terms.leverages, *terms.hedge_symbols} - self._markets.keys()
        if unknown:
            raise ValueError(f"unknown symbols: {', '.join(sorted(unknown))}")

    def _market(self, symbol: str) -> Market:
        market = self._markets.get(symbol)
        if market is None:
            raise Refusal(10001, "params error: symbol invalid")
        return market

    def _named(self, fields: Fields) -> list[Market]:
        """Return the markets of the request's symbol, base coin or settle coin."""
        symbol = fields.text("symbol")
        if symbol:
            return [self._market(symbol)]
        base, coin = fields.text("baseCoin"), fields.text("settleCoin") or fields.text("coin")
        if not base and not coin:
            raise Refusal(10001, "params error: symbol, baseCoin or settleCoin is required")
        filters = (each.filters for each in self._markets.values())
        return [
            self._markets[each.symbol]
            for each in filters
            if (each.base_coin == base if base else each.settle_coin == coin)
        ]

    def _row(self, order: Order) -> OrderRow:
        return order.to_row(self._journal.seq)
