"""A sweep gives the reports of its strategies run one by one."""

from decimal import Decimal

from shared.strategy.backtest.run import run_backtest
from shared.strategy.backtest.sweep import run_sweep
from shared.strategy.bars import Instrument, Terms
from shared.strategy.series import Series
from tests.unit.strategy.scenes import HOUR, START
from tests.unit.strategy.test_batch_equals_steps import random_plan, walk

TERMS = Terms(Instrument(tick_size=Decimal("0.1")))


def test_the_reports_are_those_of_single_runs_in_order() -> None:
    rows = walk(2, 150)
    plans = [random_plan(seed, rows) for seed in range(41)]
    alone = [run_backtest(plan, rows, TERMS, START + 20 * HOUR) for plan in plans]
    for threads in (1, 2, 100):
        assert run_sweep(plans, rows, TERMS, START + 20 * HOUR, threads) == alone


def test_strategies_that_integers_do_not_fit_are_booked_in_decimals() -> None:
    rows = walk(3, 60)
    plans = [random_plan(seed, rows) for seed in range(3)]
    coarse = Terms(Instrument(tick_size=Decimal("0.7")))
    assert {report.arithmetic for report in run_sweep(plans, rows, coarse)} == {"decimal"}


def test_nothing_to_run_gives_no_report() -> None:
    assert run_sweep([], Series(walk(4, 20)), TERMS) == []
