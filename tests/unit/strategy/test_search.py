"""Searching for the bars with events gives the same results as stepping through every bar."""

from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.strategy.backtest.event_search import Search
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from tests.unit.strategy.scenes import FREE, HOUR, START, at_close, bars, strategy
from tests.unit.strategy.test_batch_equals_steps import random_plan, walk

COARSE = Instrument(tick_size=Decimal(5))


def assert_same(plan: Strategy, rows: list[Bar], on: Terms, first_bar_ms: int | None = None) -> None:
    searched, stepped = (
        run_backtest(plan, rows, on, first_bar_ms, arithmetic="decimal", search=search) for search in (True, False)
    )
    assert searched == stepped


@settings(max_examples=250, deadline=None)
@given(
    plan_seed=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
    slippage=st.sampled_from(["0", "0.002", "0.03"]),
    tick=st.sampled_from(["0.05", "0.01", "5"]),
    balance=st.sampled_from(["10000", "60"]),
    first=st.sampled_from([None, START + 20 * HOUR]),
)
def test_the_report_is_the_same(
    plan_seed: int, seed: int, slippage: str, tick: str, balance: str, first: int | None
) -> None:
    rows = walk(seed, 300)
    assume(min(row.low for row in rows) >= Decimal(tick))  # a tick coarser than a price is refused
    on = Terms(Instrument(tick_size=Decimal(tick)), Decimal("0.00055"), Decimal(slippage), Decimal(balance))
    assert_same(random_plan(plan_seed, rows), rows, on, first)


@settings(max_examples=100, deadline=None)
@given(
    plan_seed=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
    looks=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_no_bar_with_an_event_is_skipped(plan_seed: int, seed: int, looks: list[int]) -> None:
    """Also where the search continues from a bar that it did not choose."""
    series, on = Series(walk(seed, 120)), Terms(Instrument(tick_size=Decimal("0.05")))
    plan = random_plan(plan_seed, series.bars)
    execution = Execution(plan, on)
    search = Search(execution, series, series.first_defined(plan.indicators.values()))
    index = 0
    while index < len(series):
        event = search.next_event(index)
        for quiet in range(index, min(event, index + looks[index % len(looks)])):
            assert not execution.on_close(series, quiet).must_be_stored
            index = quiet + 1
        if index == event < len(series):
            execution.on_close(series, index)
            index += 1


RISK = {
    "stop_loss": {"type": "percent", "value": 2},
    "take_profits": [{"type": "percent", "value": 2, "close_percent": 100}],
}


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
@pytest.mark.parametrize("bar", ["100 100 98 99", "100 102 100 100", "98 99 98 99", "102 102 101 101"])
def test_a_level_that_is_just_reached_is_an_event(side: str, bar: str) -> None:
    series = Series(bars("100", "100", "100", "100", bar, "100"))
    execution = Execution(strategy(at_close("100"), None, side, risk=RISK), FREE)
    for index in range(2):
        execution.on_close(series, index)
    assert execution.position is not None
    assert Search(execution, series, 0).next_event(2) == 4


@pytest.mark.parametrize("digit", range(10))
def test_prices_that_differ_beyond_float_precision_are_an_event(digit: int) -> None:
    series = Series(bars("100", "100", "100", f"99 99 98.00000000000000000{digit} 99", "99"))
    fine = Terms(Instrument(tick_size=Decimal("1E-20"), min_notional=Decimal(0)), Decimal(0))
    risk = {"stop_loss": {"type": "percent", "value": "1.999999999999999995"}}
    execution = Execution(strategy(at_close("100"), risk=risk), fine)
    for index in range(2):
        execution.on_close(series, index)
    assert Search(execution, series, 0).next_event(2) == 3
    assert_same(execution.strategy, list(series.bars), fine)


def test_an_entry_refused_repeatedly_is_tried_each_time() -> None:
    rows = bars(*(str(100 + index % 5) for index in range(80)))
    plan = strategy(
        at_close("101", "103"), at_close("104"), risk={"position_size": {"type": "fixed_base", "value": 1}}
    )
    assert_same(plan, rows, Terms(COARSE, initial_balance=Decimal(90)))
    assert_same(plan, rows, FREE)


def test_no_bars_and_one_bar() -> None:
    for rows in ([], bars("1"), bars("1", "2")):
        assert_same(strategy(), rows, FREE)
