"""An account: its wallet, its settings, and per contract its position and orders."""

from collections import deque
from decimal import Decimal

from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.journal import Journal
from sandbox.bybit.exchange.markets import Market
from sandbox.bybit.exchange.orders import Order
from sandbox.bybit.exchange.positions import Position
from sandbox.bybit.exchange.rows import ClosedPnlRow, ExecutionRow, OrderRow, TransactionRow
from sandbox.bybit.exchange.terms import HEDGE, ONE_WAY, AccountTerms, Rules


class Account:
    """`orders` and `by_link` have all orders, open and closed, by id and by link id."""

    def __init__(self, uid: str, terms: AccountTerms, rules: Rules, journal: Journal) -> None:
        self.uid, self.terms, self.rules, self.journal = uid, terms, rules, journal
        self.wallet = ZERO
        self.realised = ZERO
        self.lpa_perp = terms.lpa_perp
        self.holdings: dict[str, Holding] = {}
        self.orders: dict[str, Order] = {}
        self.by_link: dict[str, Order] = {}
        self.closed_orders: deque[OrderRow] = deque(maxlen=rules.kept_rows)
        self.executions: deque[ExecutionRow] = deque(maxlen=rules.kept_rows)
        self.transactions: deque[TransactionRow] = deque(maxlen=rules.kept_rows)
        self.closed_pnl: dict[str, ClosedPnlRow] = {}  # by order id

    @property
    def is_isolated(self) -> bool:
        return self.terms.margin_mode == "ISOLATED_MARGIN"

    def holding(self, market: Market) -> "Holding":
        """Return what the account has in this market."""
        symbol = market.filters.symbol
        held = self.holdings.get(symbol)
        if held is None:
            held = self.holdings[symbol] = Holding(self, market)
        return held

    def leverage(self, market: Market) -> Decimal:
        """Return the leverage set for a market, without opening a holding there."""
        held = self.holdings.get(market.filters.symbol)
        return _first_leverage(self.terms, market) if held is None else held.leverage

    def mode(self, market: Market) -> int:
        held = self.holdings.get(market.filters.symbol)
        return _first_mode(self.terms, market) if held is None else held.mode

    def set_terms(self, terms: AccountTerms) -> None:
        """Replace the terms; balance and leverages stay."""
        self.terms, self.lpa_perp = terms, terms.lpa_perp
        for held in self.holdings.values():
            held.mode = _first_mode(terms, held.market)

    def transfer(self, amount: Decimal) -> None:
        """Book a transfer into the account, or out of it."""
        self.wallet += amount
        self.transactions.append(
            TransactionRow(
                transaction_id=self.journal.next_id(),
                type="TRANSFER_IN" if amount >= ZERO else "TRANSFER_OUT",
                symbol="",
                side="None",
                order_id="",
                order_link_id="",
                trade_id="",
                qty=ZERO,
                size=ZERO,
                trade_price=ZERO,
                cash_flow=amount,
                funding=None,
                fee=ZERO,
                fee_rate=ZERO,
                change=amount,
                cash_balance=self.wallet,
                currency="USDT",
                at_ms=self.journal.at_ms,
            )
        )

    def change_wallet(self, amount: Decimal) -> None:
        """Book a realised gain or loss, a fee or funding."""
        self.wallet += amount
        self.realised += amount


class Holding:
    """An account's position, settings and open orders in one market."""

    def __init__(self, account: Account, market: Market) -> None:
        self.account, self.market, self.journal = account, market, account.journal
        self.position = Position()
        self.leverage = _first_leverage(account.terms, market)
        self.mode = _first_mode(account.terms, market)
        self.open: dict[str, Order] = {}

    @property
    def symbol(self) -> str:
        return self.market.filters.symbol

    def find_stop(self, stop_order_type: str) -> Order | None:
        """Return the stop of the whole position of this type."""
        return next((each for each in self.open.values() if each.stop_order_type == stop_order_type), None)

    def position_stops(self) -> list[Order]:
        return [each for each in self.open.values() if each.is_position_stop]

    def add(self, order: Order) -> None:
        self.open[order.order_id] = self.account.orders[order.order_id] = order
        if order.link_id:
            self.account.by_link[order.link_id] = order
        self.market.active[self.account.uid] = self

    def drop(self, order: Order) -> None:
        """Take a closed order off the open ones."""
        self.open.pop(order.order_id, None)
        self.forget_if_idle()

    def forget_if_idle(self) -> None:
        """Take the holding off the market's active ones once it has neither a position nor an open order."""
        if not self.open and not self.position.net:
            self.market.active.pop(self.account.uid, None)


def _first_leverage(terms: AccountTerms, market: Market) -> Decimal:
    filters = market.filters
    return min(terms.leverages.get(filters.symbol, terms.leverage), filters.max_leverage)


def _first_mode(terms: AccountTerms, market: Market) -> int:
    return HEDGE if market.filters.symbol in terms.hedge_symbols else ONE_WAY
