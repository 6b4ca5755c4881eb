"""In stepping mode the exchange fills a strategy's orders as a backtest on the same bars does.

A runner decides with the platform's evaluator and sends its decisions as orders: entries with a provisional stop,
exits that only reduce, each target as a limit order, the stop moved at each close. The evaluator steps through the
same bars; the fills of each bar must be the same.
"""

import random
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import ExecutionRow
from sandbox.bybit.exchange.terms import AccountTerms, InstrumentFilters
from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.decimals import exact
from shared.strategy.document.parse import Strategy, parse_strategy
from shared.strategy.execution.position import active_stop, open_position
from shared.strategy.execution.snapshot import PendingEntry
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from shared.testing.random_strategies import SHORT_PERIODS, RandomStrategy
from tests.unit.strategy.test_batch_equals_steps import walk

SYMBOL, UID = "AUSDT", "1"
Line = tuple[str, Decimal, Decimal]


class Runner:
    """Trades one strategy on the exchange, as the platform does."""

    def __init__(self, strategy: Strategy, terms: Terms) -> None:
        instrument = terms.instrument
        filters = InstrumentFilters(
            SYMBOL,
            tick_size=instrument.tick_size,
            min_price=instrument.tick_size,
            qty_step=instrument.qty_step,
            min_order_qty=instrument.min_order_qty,
            min_notional=instrument.min_notional,
            max_market_order_qty=Decimal(10) ** 9,
            max_order_qty=Decimal(10) ** 9,
            risk_limit_value=Decimal(10) ** 12,
        )
        self.exchange = Exchange({SYMBOL: filters})
        account = AccountTerms(
            balance=Decimal(10) ** 9, taker_fee=terms.fee, maker_fee=terms.fee, slippage=terms.slippage
        )
        self.exchange.open_account(UID, account)
        self.execution = Execution(strategy, terms, record_decisions=False)
        self.strategy, self.terms = strategy, terms
        self.stop: Decimal | None = None

    def step(self, series: Series, index: int) -> tuple[list[Line], list[Line]]:
        """Run one bar. Return the fills of the evaluator and those of the exchange."""
        bar = series.bar(index)
        self.exchange.at_open(SYMBOL, bar.open, bar.open_time_ms)
        opened = self.execution.on_open(bar.open_time_ms, bar.open)
        if any(fill.action == "open" for fill in opened.fills):
            self.protect(at_fill=True)
        self.exchange.at_rest(SYMBOL, bar, bar.open_time_ms)
        self.exchange.at_close(SYMBOL, bar, bar.open_time_ms)
        closed = self.execution.on_close(series, index)
        self.send_decisions(bar)
        wanted = [
            ("Buy" if (fill.action == "open") == (fill.side == "LONG") else "Sell", fill.qty, fill.price)
            for fill in (*opened.fills, *closed.fills)
        ]
        rows = [change.row for change in self.exchange.take_changes()]
        fills = [row for row in rows if isinstance(row, ExecutionRow)]
        return wanted, [(row.side, row.exec_qty, row.exec_price) for row in fills]

    def protect(self, *, at_fill: bool = False) -> None:
        """Set the stop; after an entry the targets too. A stop that is passed already is a market close."""
        position = self.execution.position
        assert position is not None
        active = active_stop(position)
        if active is not None:
            body = {"category": "linear", "symbol": SYMBOL, "positionIdx": 0, "tpslMode": "Full"}
            try:
                self.exchange.set_trading_stop(UID, body | {"stopLoss": format(active[0], "f")}, 0)
            except Refusal as refusal:
                if refusal.code != 34040:  # it is not unchanged but passed
                    self.close()
                    return
        if at_fill:
            self.place_targets()

    def place_targets(self) -> None:
        position = self.execution.position
        assert position is not None
        rest = position.left
        for target in position.targets:
            if target.price is None:
                return
            part = rest if target.takes_rest else target.qty
            if part and part >= self.terms.instrument.min_order_qty:
                rest -= part
                self.send("Sell" if position.side == "LONG" else "Buy", part, price=target.price, reduceOnly=True)

    def send_decisions(self, bar: Bar) -> None:
        state = self.execution._state
        if state.pending_exit is not None:
            self.close()
        elif state.position is not None:
            self.protect()
        if state.pending_entry is not None:
            self.enter(state.pending_entry, bar)

    def close(self) -> None:
        (position,) = self.exchange.account(UID).positions.values()
        self.send("Sell" if position.side == "Buy" else "Buy", Decimal(0), reduceOnly=True, closeOnTrigger=True)

    def enter(self, entry: PendingEntry, bar: Bar) -> None:
        with exact():
            position = open_position(entry, 0, bar.close, self.strategy.risk, self.terms)
            stop = active_stop(position)
        long = entry.side == "LONG"
        attached: dict[str, object] = {}
        if stop is not None and (stop[0] < bar.close if long else stop[0] > bar.close):
            attached = {"stopLoss": format(stop[0], "f"), "tpslMode": "Full"}
        self.send("Buy" if long else "Sell", entry.qty, None, **attached)

    def send(self, side: str, qty: Decimal, price: Decimal | None = None, **more: object) -> None:
        body = {"category": "linear", "symbol": SYMBOL, "side": side, "qty": format(qty, "f")}
        body |= {"orderType": "Market"} if price is None else {"orderType": "Limit", "price": format(price, "f")}
        self.exchange.create_order(UID, {**body, **more}, 0)


def differing_bar(strategy: Strategy, bars: Sequence[Bar], terms: Terms) -> tuple[int, object, object] | int:
    """Return the first bar whose fills differ, with them; the number of fills if none does."""
    runner, series, fills = Runner(strategy, terms), Series([]), 0
    for index, bar in enumerate(bars):
        series.append(bar)
        wanted, got = runner.step(series, index)
        if runner.execution.equity <= 0:  # a reversal is not entered then; this runner has sent it with the exit
            return fills
        if wanted != got:
            return index, wanted, got
        fills += len(got)
    return fills


def draw(plan_seed: int, rows: Sequence[Bar]) -> Strategy:
    plan = RandomStrategy(random.Random(plan_seed), [row.close for row in rows], SHORT_PERIODS)
    return parse_strategy(plan.document("60"))


@settings(max_examples=120, deadline=None)
@given(
    plan_seed=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
    slippage=st.sampled_from(["0", "0", "0.002"]),
    tick=st.sampled_from(["0.1", "0.1", "0.5"]),
)
def test_fills_of_random_strategies(plan_seed: int, seed: int, slippage: str, tick: str) -> None:
    rows = walk(seed, 80)
    terms = Terms(Instrument(tick_size=Decimal(tick)), slippage=Decimal(slippage))
    outcome = differing_bar(draw(plan_seed, rows), rows, terms)
    assert isinstance(outcome, int), outcome


ALWAYS = {"left": "close", "op": ">", "right": "0"}
RISK = {
    "position_size": {"type": "percent_of_equity", "value": "50"},
    "stop_loss": {"type": "percent", "value": "2"},
    "take_profits": [
        {"type": "percent", "value": "0.8", "close_percent": "30"},
        {"type": "percent", "value": "1.6", "close_percent": "30"},
        {"type": "percent", "value": "3", "close_percent": "40"},
    ],
    "trailing_stop": {"type": "percent", "value": "1.5", "activation": "1"},
    "max_bars": 12,
}


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
@pytest.mark.parametrize("seed", range(4))
def test_stops_several_targets_and_trailing_on_every_bar(side: str, seed: int) -> None:
    document = {
        "strategy_name": "always",
        "strategy_config": {"interval": "60", "side": side, "indicators": {}},
        "entry_conditions": ALWAYS,
        "risk_management": RISK,
    }
    outcome = differing_bar(parse_strategy(document), walk(seed, 200), Terms(Instrument(Decimal("0.1"))))
    assert isinstance(outcome, int), outcome
    assert outcome > 100
