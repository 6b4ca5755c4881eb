"""Every fill price is above 0 and, apart from slippage, within its bar rounded to the tick."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Instrument, Terms, TickTooCoarse
from shared.strategy.decimals import round_to_tick
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from tests.unit.strategy.scenes import ALWAYS, bars, run, strategy, terms
from tests.unit.strategy.test_batch_equals_steps import random_plan, walk

TICKS = st.sampled_from([Decimal(tick) for tick in ("0.01", "0.5", "3", "7", "40")])


@settings(max_examples=60, deadline=None)
@given(plan_seed=st.integers(0, 10**6), seed=st.integers(0, 10**6), tick=TICKS)
def test_fills_lie_within_their_bar_rounded_to_tick(plan_seed: int, seed: int, tick: Decimal) -> None:
    rows = walk(seed, 80)
    plan = random_plan(plan_seed, rows)
    by_time = {bar.open_time_ms: bar for bar in rows}
    with suppress(TickTooCoarse):
        for fill in run_backtest(plan, rows, Terms(Instrument(tick_size=tick))).fills:
            bar = by_time[fill.time_ms]
            assert round_to_tick(bar.low, tick) <= fill.price <= round_to_tick(bar.high, tick)
            assert fill.price > 0


def test_a_tick_above_a_price_is_refused() -> None:
    with pytest.raises(TickTooCoarse, match=r"a price of 0\.0038, below the tick size of 0\.01"):
        run(strategy(ALWAYS), bars("0.0041", "0.0042 0.0043 0.0038 0.0041"))
    assert run(strategy(ALWAYS), bars("0.01", "0.014")).fills[0].price == Decimal("0.01")


def test_a_price_after_slippage_is_at_least_a_tick() -> None:
    plan = strategy(ALWAYS, ALWAYS)
    report = run(plan, bars("0.05", "0.05", "0.02"), terms(slippage=Decimal("0.9")))
    assert [str(fill.price) for fill in report.fills] == ["0.10", "0.01"]


def test_a_stepped_session_never_fills_at_zero() -> None:
    execution, series = Execution(strategy(ALWAYS), terms()), Series()
    for bar in bars("0.01", "0.004"):
        execution.on_open(bar.open_time_ms, bar.open)
        series.append(bar)
        execution.on_close(series)
    assert execution.position is not None
    assert execution.position.entry_price == Decimal("0.01")
