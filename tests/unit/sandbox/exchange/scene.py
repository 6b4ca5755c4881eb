"""An exchange with one account on BTCUSDT at a price of 100, and short ways to trade on it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import pytest

from sandbox.bybit.exchange.exchange import AccountState, Exchange
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import ExecutionRow, OrderRow, PositionRow, WalletRow
from sandbox.bybit.exchange.terms import AccountTerms, InstrumentFilters, Level, Rules

UID, BTC, ETH = "100", "BTCUSDT", "ETHUSDT"


class Candle(NamedTuple):
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


def candle(open_: str, high: str, low: str, close: str) -> Candle:
    return Candle(*map(Decimal, (open_, high, low, close)))


class Scene:
    """Fees are 0 unless the terms have some; the market is live at 100."""

    def __init__(
        self,
        terms: AccountTerms | None = None,
        rules: Rules | None = None,
        filters: InstrumentFilters = InstrumentFilters(BTC),  # noqa: B008
    ) -> None:
        others = replace(filters, symbol=ETH, base_coin="ETH")
        self.exchange = Exchange({BTC: filters, ETH: others}, rules or Rules(has_price_band=False))
        free = AccountTerms(taker_fee=Decimal(0), maker_fee=Decimal(0))
        self.exchange.open_account(UID, terms or free)
        self.now = 1000
        self.price("100")
        self.exchange.at_price(ETH, Decimal(100), self.now)

    def price(self, price: str, symbol: str = BTC) -> None:
        self.now += 1
        self.exchange.at_price(symbol, Decimal(price), self.now)

    def open(self, price: str) -> None:
        self.now += 1
        self.exchange.at_open(BTC, Decimal(price), self.now)

    def close(self, price: str = "100") -> None:
        self.now += 1
        self.exchange.at_close(BTC, candle(price, price, price, price), self.now)

    def rest(self, *prices: str) -> None:
        self.now += 1
        self.exchange.at_rest(BTC, candle(*prices), self.now)

    def order(self, side: str, qty: str, price: str | None = None, symbol: str = BTC, **more: object) -> OrderRow:
        self.now += 1
        kind = {"orderType": "Market"} if price is None else {"orderType": "Limit", "price": price}
        body: dict[str, object] = {"category": "linear", "symbol": symbol, "side": side, "qty": qty}
        body |= kind | more
        return self.exchange.create_order(UID, body, self.now)

    def stop(self, **fields: object) -> None:
        self.now += 1
        self.exchange.set_trading_stop(UID, {**self.body(positionIdx=0, tpslMode="Full"), **fields}, self.now)

    def body(self, **fields: object) -> Mapping[str, object]:
        return {"category": "linear", "symbol": BTC, **fields}

    def cancel(self, order: OrderRow, *, loses: bool = False) -> OrderRow:
        self.now += 1
        return self.exchange.cancel_order(UID, self.body(orderId=order.order_id), self.now, loses=loses)

    def amend(self, order: OrderRow, **fields: object) -> OrderRow:
        self.now += 1
        return self.exchange.amend_order(UID, self.body(orderId=order.order_id, **fields), self.now)

    def liquidity(self, *levels: tuple[int, str | None]) -> None:
        found = [Level(ticks, None if qty is None else Decimal(qty)) for ticks, qty in levels]
        self.exchange.set_liquidity(BTC, found)

    @property
    def state(self) -> AccountState:
        return self.exchange.account(UID)

    @property
    def wallet(self) -> WalletRow:
        return self.state.wallet

    @property
    def position(self) -> PositionRow:
        return self.state.positions[BTC]

    def now_of(self, order: OrderRow) -> OrderRow:
        """Return the order as it is now."""
        found = self.exchange.find_order(UID, order.order_id)
        assert found is not None
        return found

    def status(self, order: OrderRow) -> tuple[str, str, str]:
        row = self.now_of(order)
        return row.order_status, row.cancel_type, row.reject_reason

    def open_stops(self) -> dict[str, OrderRow]:
        return {row.stop_order_type: row for row in self.state.open_orders if row.stop_order_type}

    def fills(self) -> list[tuple[str, Decimal, Decimal]]:
        """Return side, quantity and price of all executions."""
        return [(row.side, row.exec_qty, row.exec_price) for row in self.state.executions]

    def executions(self) -> list[ExecutionRow]:
        return list(self.state.executions)


def fill(side: str, qty: str, price: str) -> tuple[str, Decimal, Decimal]:
    return side, Decimal(qty), Decimal(price)


def code_of(call: Callable[..., object], *args: object, **fields: object) -> int:
    """Return the code with which a call is refused."""
    with pytest.raises(Refusal) as refused:
        call(*args, **fields)
    return refused.value.code
