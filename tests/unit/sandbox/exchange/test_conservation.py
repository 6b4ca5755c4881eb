"""Whatever accounts and markets do, money and positions add up to the last digit."""

import random
from collections import defaultdict
from contextlib import suppress
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import ExecutionRow, OrderRow
from sandbox.bybit.exchange.terms import AccountTerms, InstrumentFilters, Level, MarginMode, Rules
from tests.unit.sandbox.exchange.scene import BTC, ETH, candle

SCARCE = [Level(0, Decimal("0.7")), Level(3, Decimal("1.1"))]
MODES: tuple[MarginMode, ...] = ("REGULAR_MARGIN", "ISOLATED_MARGIN")
HALF = Decimal("0.5")
UIDS = ("1", "2", "3")
OPEN = ("New", "PartiallyFilled", "Untriggered", "Triggered")


class Day:
    """Random requests and prices, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        filters = {symbol: InstrumentFilters(symbol) for symbol in (BTC, ETH)}
        self.exchange = Exchange(filters, Rules(has_price_band=self.rng.random() < 0.3))
        self.initial: dict[str, Decimal] = {}
        for uid in UIDS:
            mode = MODES[self.rng.randrange(2)]
            balance = Decimal(self.rng.choice(("300", "1000.123456", "50000")))
            taker, maker = self.rng.choice(("0.00055", "0.000123")), self.rng.choice(("0.0002", "-0.0001"))
            slippage = self.rng.choice(("0", "0.001"))
            self.initial[uid] = balance
            fees = Decimal(taker), Decimal(maker)
            terms = AccountTerms(balance, *fees, Decimal(slippage), margin_mode=mode)
            self.exchange.open_account(uid, terms)
        self.at_ms, self.last = 0, {BTC: Decimal(100), ETH: Decimal(10)}
        for symbol, price in self.last.items():
            self.exchange.at_price(symbol, price, 0)
        self.executions: dict[str, list[ExecutionRow]] = defaultdict(list)

    def near(self, symbol: str, spread: float = 0.06) -> Decimal:
        price = float(self.last[symbol]) * (1 + self.rng.uniform(-spread, spread))
        return max(Decimal("0.1"), Decimal(f"{price:.1f}"))

    def step(self) -> None:
        self.at_ms += 1
        uid, symbol = self.rng.choice(UIDS), self.rng.choice((BTC, ETH))
        actions = (
            [self.order] * 8 + [self.market] * 5 + [self.stop] * 3 + [self.cancel] * 2 + [self.amend, self.other]
        )
        with suppress(Refusal):
            self.rng.choice(actions)(uid, symbol)
        self.check()

    def order(self, uid: str, symbol: str) -> None:
        rng = self.rng
        body: dict[str, object] = {"category": "linear", "symbol": symbol, "side": rng.choice(("Buy", "Sell"))}
        body |= {"qty": str(Decimal(rng.randrange(1, 9000)) / 1000), "orderType": rng.choice(("Market", "Limit"))}
        if body["orderType"] == "Limit":
            body |= {
                "price": str(self.near(symbol)),
                "timeInForce": rng.choice(("GTC", "GTC", "IOC", "FOK", "PostOnly")),
            }
        if rng.random() < 0.3:
            body["reduceOnly"] = True
        if rng.random() < 0.4:
            body |= {"stopLoss": str(self.near(symbol)), "tpslMode": rng.choice(("Full", "Partial"))}
        if rng.random() < 0.3:
            body["takeProfit"] = str(self.near(symbol))
        if rng.random() < 0.2:
            body |= {"triggerPrice": str(self.near(symbol)), "triggerDirection": rng.choice((1, 2))}
        self.exchange.create_order(uid, body, self.at_ms)

    def stop(self, uid: str, symbol: str) -> None:
        rng = self.rng
        mode = rng.choice(("Full", "Partial"))
        fields: dict[str, object] = {"category": "linear", "symbol": symbol, "tpslMode": mode}
        chance = 0.7 if mode == "Partial" else 0.4
        for name in ("stopLoss", "takeProfit"):
            if rng.random() < chance:
                fields[name] = str(self.near(symbol)) if rng.random() < 0.8 else "0"
        if mode == "Partial":
            fields["tpSize"] = fields["slSize"] = str(Decimal(rng.randrange(1, 2000)) / 1000)
        elif rng.random() < 0.6:
            fields["trailingStop"] = rng.choice(("0.3", "1.0", "0"))
        self.exchange.set_trading_stop(uid, fields, self.at_ms)

    def cancel(self, uid: str, symbol: str) -> None:
        orders = [row for row in self.exchange.account(uid).open_orders if row.symbol == symbol]
        if orders:
            body = {"category": "linear", "symbol": symbol, "orderId": self.rng.choice(orders).order_id}
            self.exchange.cancel_order(uid, body, self.at_ms, loses=self.rng.random() < 0.3)

    def amend(self, uid: str, symbol: str) -> None:
        orders = [row for row in self.exchange.account(uid).open_orders if row.symbol == symbol]
        if orders:
            body = {"category": "linear", "symbol": symbol, "orderId": self.rng.choice(orders).order_id}
            self.exchange.amend_order(uid, body | {"price": str(self.near(symbol)), "qty": "3.5"}, self.at_ms)

    def market(self, uid: str, symbol: str) -> None:
        rng, exchange = self.rng, self.exchange
        opened, closed = self.near(symbol, 0.03), self.near(symbol, 0.05)
        high = max(opened, closed) + Decimal(rng.randrange(5)) / 10
        low = max(Decimal("0.1"), min(opened, closed) - Decimal(rng.randrange(5)) / 10)
        bar = candle(*map(str, (opened, high, low, closed)))
        if rng.random() < 0.5:
            exchange.at_price(symbol, closed, self.at_ms)
        else:
            exchange.at_open(symbol, opened, self.at_ms)
            exchange.at_rest(symbol, bar, self.at_ms)
            if rng.random() < 0.5:
                exchange.at_close(symbol, bar, self.at_ms)
        self.last[symbol] = closed

    def other(self, uid: str, symbol: str) -> None:
        rng, exchange = self.rng, self.exchange
        match rng.randrange(4):
            case 0:
                exchange.fund(symbol, Decimal(rng.randrange(-99, 99)) / 100_000, self.at_ms)
            case 1:
                exchange.set_liquidity(
                    symbol, rng.choice((None, [Level(0, Decimal("0.7")), Level(3, Decimal("1.1"))]))
                )
            case 2:
                position = exchange.account(uid).positions.get(symbol)
                if position is not None and position.size:
                    part = min(position.size, Decimal("0.5"))
                    exchange.deleverage(uid, symbol, part, self.last[symbol], self.at_ms)
            case _:
                exchange.set_mark_price(symbol, rng.choice((None, self.near(symbol, 0.1))), self.at_ms)

    def check(self) -> None:
        reducing: set[str] = set()
        for change in self.exchange.take_changes():
            row = change.row
            if isinstance(row, OrderRow):
                assert row.leaves_qty >= 0
                assert row.cum_exec_qty <= row.qty
                if row.reduce_only or row.close_on_trigger:
                    reducing.add(row.order_id)
            elif isinstance(row, ExecutionRow):
                self.executions[change.uid].append(row)
                assert row.closed_size == row.exec_qty or row.order_id not in reducing
        for uid in UIDS:
            self.check_account(uid)

    def check_account(self, uid: str) -> None:
        state = self.exchange.account(uid)
        executions = self.executions[uid]
        change = sum((row.exec_pnl - row.exec_fee for row in executions), Decimal(0))
        assert state.wallet.wallet_balance == self.initial[uid] + change
        assert state.wallet.wallet_balance == sum(row.change for row in state.transactions)
        assert sum(row.cum_realised_pnl for row in state.positions.values()) == change
        for symbol, position in state.positions.items():
            size = sum((net(row) for row in executions if row.symbol == symbol), Decimal(0))
            assert size == (position.size if position.side == "Buy" else -position.size)
            flows = sum((value(row) for row in executions if row.symbol == symbol), Decimal(0))
            if not size:
                assert flows == sum((row.exec_pnl for row in executions if row.symbol == symbol), Decimal(0))
        for row in state.open_orders:
            assert row.order_status in OPEN
            assert row.leaves_qty > 0
            if row.stop_order_type in ("StopLoss", "TakeProfit", "TrailingStop", "PartialStopLoss"):
                assert state.positions[row.symbol].size, "a stop without a position"
        assert list(executions) == list(state.executions)


def net(row: ExecutionRow) -> Decimal:
    if row.exec_type == "Funding":
        return Decimal(0)
    return row.exec_qty if row.side == "Buy" else -row.exec_qty


def value(row: ExecutionRow) -> Decimal:
    """Return what the execution brings in: the value sold, less the value bought."""
    return -net(row) * row.exec_price


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_money_and_positions_add_up(seed: int) -> None:
    day = Day(seed)
    for _ in range(60):
        day.step()


def test_random_days_reach_every_kind_of_execution() -> None:
    kinds = set()
    for seed in range(12):
        day = Day(seed)
        for _ in range(80):
            day.step()
        kinds |= {(row.exec_type, row.create_type) for rows in day.executions.values() for row in rows}
    assert {exec_type for exec_type, _ in kinds} == {"Trade", "Funding", "BustTrade", "AdlTrade"}
    created = {create_type for _, create_type in kinds}
    assert {"CreateByStopLoss", "CreateByTakeProfit", "CreateByTrailingStop", "CreateByStopOrder"} <= created
