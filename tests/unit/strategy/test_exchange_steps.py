"""On an ideal exchange, the execution on the exchange has the fills, trades and decisions of the one on bars."""

import json
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.exchange_steps import DesiredTarget, ExchangeExecution
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import Fill, Reason, StepOutcome, Trade
from shared.strategy.execution.position import is_hit
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from tests.unit.strategy.scenes import ALWAYS, FREE, HOUR, START, at_close, bars, strategy
from tests.unit.strategy.test_batch_equals_steps import random_plan, walk

ON_ONE, ON_TWO = at_close("1"), at_close("2")
D = Decimal


class BarExchange:
    """Replays bars with the orders, the stop and the targets that the execution wants to have, as spec/strategy.md
    describes the simulator; `parts` splits each fill."""

    def __init__(self, execution: ExchangeExecution, fee: Decimal, draw: random.Random | None = None) -> None:
        self.execution = execution
        self.fee = fee
        self.draw = draw
        self.outcomes: list[StepOutcome] = []
        self.resting: list[DesiredTarget] = []

    def open(self, bar: Bar) -> None:
        execution = self.execution
        entry, reason = execution.pending_entry, execution.pending_exit
        if reason is not None:
            self._close(bar, None, bar.open, reason)
        if entry is not None and execution.equity > 0:
            for qty in self._split(entry.qty):
                fee = qty * bar.open * self.fee
                self.outcomes.append(execution.book_entry(bar.open_time_ms, entry.side, qty, bar.open, fee))
            self.resting = execution.desired_targets()
        if entry is not None:
            self.outcomes.append(execution.end_entry())

    def rest(self, bar: Bar) -> None:
        position, stop = self.execution.position, self.execution.desired_stop()
        if position is None:
            return
        long = position.side == "LONG"
        adverse, favourable = (bar.low, bar.high) if long else (bar.high, bar.low)
        if stop is not None and is_hit(not long, bar.open, stop[0]):
            self._close(bar, None, bar.open, stop[1])
            return
        self._targets(bar, bar.open, at_open=True)
        if stop is not None and is_hit(not long, adverse, stop[0]):
            self._close(bar, None, stop[0], stop[1])
        else:
            self._targets(bar, favourable, at_open=False)

    def _targets(self, bar: Bar, reached: Decimal, *, at_open: bool) -> None:
        while self.resting and (position := self.execution.position) is not None:
            target = self.resting[0]
            if not is_hit(position.side == "LONG", reached, target.price):
                return
            self.resting.pop(0)
            self._close(bar, target.qty, reached if at_open else target.price, "take_profit")

    def _close(self, bar: Bar, qty: Decimal | None, price: Decimal, reason: Reason) -> None:
        position = self.execution.position
        if position is None:
            return
        for part in self._split(position.left if qty is None else qty):
            fee = part * price * self.fee
            self.outcomes.append(self.execution.book_close(bar.open_time_ms, part, price, fee, reason))

    def _split(self, qty: Decimal) -> list[Decimal]:
        step = Instrument().qty_step
        if self.draw is None or qty <= step or self.draw.random() < 0.5:
            return [qty]
        first = step * self.draw.randint(1, int(qty / step) - 1) if qty >= 2 * step else qty
        return [part for part in (first, qty - first) if part]


def run_on_bars(plan: Strategy, rows: list[Bar], terms: Terms) -> tuple[Execution, list[StepOutcome]]:
    series, execution, outcomes = Series(), Execution(plan, terms), []
    for bar in rows:
        outcomes.append(execution.on_open(bar.open_time_ms, bar.open))
        series.append(bar)
        outcomes.append(execution.on_close(series))
    return execution, outcomes


def run_on_exchange(
    plan: Strategy, rows: list[Bar], terms: Terms, restarts: set[int], draw: random.Random | None = None
) -> tuple[ExchangeExecution, list[StepOutcome]]:
    series, execution = Series(), ExchangeExecution(plan, terms)
    exchange = BarExchange(execution, terms.fee, draw)
    for index, bar in enumerate(rows):
        exchange.open(bar)
        if index in restarts:
            stored = json.loads(json.dumps(execution.snapshot()))
            restored = ExchangeExecution.restore(plan, terms, None, stored)
            assert isinstance(restored, ExchangeExecution)
            execution = exchange.execution = restored
        exchange.rest(bar)
        series.append(bar)
        exchange.outcomes.append(execution.on_close(series))
    return execution, exchange.outcomes


def fills_of(outcomes: list[StepOutcome]) -> list[Fill]:
    return [fill for outcome in outcomes for fill in outcome.fills]


def trades_of(outcomes: list[StepOutcome]) -> list[Trade]:
    return [trade for outcome in outcomes for trade in outcome.trades]


@settings(max_examples=100, deadline=None)
@given(
    plan_seed=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
    restarts=st.sets(st.integers(0, 79), max_size=12),
)
def test_an_ideal_exchange_has_the_fills_trades_and_decisions_of_the_bars(
    plan_seed: int, seed: int, restarts: set[int]
) -> None:
    rows = walk(seed, 80)
    plan = random_plan(plan_seed, rows)
    terms = Terms(Instrument(tick_size=D("0.05")), D("0.00055"))
    paper, expected = run_on_bars(plan, rows, terms)
    live, found = run_on_exchange(plan, rows, terms, restarts)
    assert fingerprint(fills_of(found)) == fingerprint(fills_of(expected))
    assert fills_of(found) == fills_of(expected)
    assert trades_of(found) == trades_of(expected)
    assert [each.decisions for each in found if each.decisions] == [
        each.decisions for each in expected if each.decisions
    ]
    assert live.equity == paper.equity
    assert live.cooldown == paper.cooldown
    assert live.stopped_day == paper.stopped_day


@settings(max_examples=40, deadline=None)
@given(plan_seed=st.integers(0, 10**6), seed=st.integers(0, 10**6))
def test_fills_in_parts_have_the_trades_of_whole_fills(plan_seed: int, seed: int) -> None:
    rows = walk(seed, 60)
    plan = random_plan(plan_seed, rows)
    terms = Terms(Instrument(tick_size=D("0.05")), D("0.00055"))
    _, whole = run_on_exchange(plan, rows, terms, set())
    _, parts = run_on_exchange(plan, rows, terms, set(), random.Random(seed))
    assert trades_of(parts) == trades_of(whole)


def pending(side: str = "LONG", risk: dict[str, object] | None = None) -> ExchangeExecution:
    """An execution that has just decided to enter one coin."""
    series, execution = Series(), ExchangeExecution(strategy(ON_ONE, ON_TWO, side=side, risk=risk), FREE)
    series.append(bars("1")[0])
    execution.on_close(series)
    return execution


def test_stop_and_targets_follow_the_average_price_of_the_entry() -> None:
    execution = pending(
        risk={
            "stop_loss": {"type": "percent", "value": "10"},
            "take_profits": [
                {"type": "percent", "value": "10", "close_percent": "50"},
                {"type": "percent", "value": "20", "close_percent": "50"},
            ],
        }
    )
    assert execution.provisional_stop(D(1)) == D("0.9")
    execution.book_entry(START + HOUR, "LONG", D("0.25"), D(100), D(0))
    assert execution.desired_stop() == (D(90), "stop_loss")
    execution.book_entry(START + HOUR, "LONG", D("0.75"), D(104), D(0))
    execution.end_entry()
    assert execution.desired_stop() == (D("92.7"), "stop_loss")
    assert execution.desired_targets() == [
        DesiredTarget(0, D("113.3"), D("0.5")),
        DesiredTarget(1, D("123.6"), D("0.5")),
    ]


def test_gross_and_pnl_are_exact_whatever_the_average() -> None:
    execution = pending()
    execution.book_entry(START + HOUR, "LONG", D(1), D(100), D("0.1"))
    execution.book_entry(START + HOUR, "LONG", D(2), D(101), D("0.1"))
    execution.end_entry()
    (trade,) = execution.book_close(START + HOUR, D(3), D(102), D("0.1"), "signal").trades
    assert (trade.gross, trade.fees, trade.pnl) == (D(4), D("0.3"), D("3.7"))
    assert trade.entry_price == D("100.66666667")


def test_while_a_decision_is_pending_no_other_is_taken() -> None:
    series, execution = Series(), ExchangeExecution(strategy(ALWAYS, ALWAYS), FREE)
    rows = bars("5", "5", "5", "5")
    series.append(rows[0])
    assert execution.on_close(series).decisions
    series.append(rows[1])
    assert not execution.on_close(series).must_be_stored
    execution.end_entry()
    series.append(rows[2])
    assert execution.on_close(series).decisions


def test_an_entry_without_fills_leaves_no_position() -> None:
    execution = pending()
    assert execution.end_entry().dropped
    assert execution.position is None
    assert not execution.pending


def test_a_close_booked_after_the_close_of_its_bar_cools_down_from_its_bar() -> None:
    execution = pending(risk={"cooldown_bars": 3})
    series = Series()
    rows = bars("1", "5", "5", "5")
    series.append(rows[0])
    execution.book_entry(rows[1].open_time_ms, "LONG", D(1), D(5), D(0))
    execution.end_entry()
    for row in rows[1:3]:
        series.append(row)
        execution.on_close(series)
    execution.book_close(rows[2].open_time_ms, D(1), D(5), D(0), "stop_loss")
    assert execution.cooldown == 2


def test_a_loss_booked_after_midnight_counts_for_the_day_of_its_bar() -> None:
    execution = pending(risk={"max_daily_loss_percentage": "0.001"})
    late = START + 23 * HOUR
    execution.book_entry(late, "LONG", D(1), D(5), D(0))
    execution.end_entry()
    series = Series()
    for row in bars("1", *(["5"] * 24)):
        series.append(row)
        if row.open_time_ms > START:
            execution.on_close(series)
    execution.book_close(late, D(1), D(2), D(0), "stop_loss")
    assert execution.stopped_day is None
    assert execution.equity == FREE.initial_balance - 3


def test_a_position_that_nobody_ordered_gets_no_stop_from_an_indicator() -> None:
    indicators = {"atr": {"type": "ATR", "period": 2}}
    stop = {"stop_loss": {"type": "atr", "value": "1", "indicator": "atr"}}
    execution = ExchangeExecution(strategy(ON_ONE, indicators=indicators, risk=stop), FREE)
    execution.book_entry(START, "LONG", D(1), D(5), D(0))
    assert execution.desired_stop() is None


def test_more_cannot_be_closed_than_is_left() -> None:
    execution = pending()
    execution.book_entry(START + HOUR, "LONG", D(1), D(5), D(0))
    with pytest.raises(AssertionError):
        execution.book_close(START + HOUR, D(2), D(5), D(0), "signal")


def test_a_stop_has_the_tick_of_the_newest_instrument() -> None:
    plan = strategy(ON_ONE, risk={"stop_loss": {"type": "percent", "value": "10"}})
    execution, series = ExchangeExecution(plan, FREE), Series(bars("99", "99"))
    execution.book_entry(START, "LONG", D(1), D("99"), D(0))
    assert execution.desired_stop() == (D("89.1"), "stop_loss")
    execution.on_close(series, 1, None, Instrument(tick_size=D("0.5")))
    assert execution.desired_stop() == (D("89"), "stop_loss")
