"""A bar moves many accounts at once."""

import time
from decimal import Decimal

from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.terms import AccountTerms, InstrumentFilters
from tests.unit.sandbox.exchange.scene import BTC, candle

ACCOUNTS = 1000


def test_a_bar_moves_a_thousand_positions_in_well_under_a_second() -> None:
    exchange = Exchange({BTC: InstrumentFilters(BTC)})
    exchange.at_price(BTC, Decimal(100), 0)
    order = {"category": "linear", "symbol": BTC, "orderType": "Market", "qty": "1", "side": "Buy"}
    target = {**order, "side": "Sell", "orderType": "Limit", "reduceOnly": True, "qty": "0.3"}
    for number in range(ACCOUNTS):
        uid = str(number)
        exchange.open_account(uid, AccountTerms())
        exchange.create_order(uid, {**order, "stopLoss": "90"}, 1)
        for price in ("110", "120"):
            exchange.create_order(uid, {**target, "price": price}, 1)
    bar = candle("100", "105", "95", "101")
    started = time.process_time()
    exchange.at_open(BTC, bar.open, 2)
    exchange.at_rest(BTC, bar, 3)
    exchange.at_close(BTC, bar, 4)
    assert time.process_time() - started < 1
    assert {exchange.account(str(number)).positions[BTC].size for number in range(ACCOUNTS)} == {Decimal(1)}
