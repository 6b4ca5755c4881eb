"""The fills of a step are assigned to trades."""

from uuid import UUID

from services.trading.operations.step_effects import group_by_trade, open_trade_after
from shared.contracts.types import new_id
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Terms
from shared.strategy.document.parse import parse_strategy
from shared.strategy.execution.outcome import StepOutcome
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from tests.unit.trading.scenes import CROSS, INSTRUMENT, wavy_bars


def test_a_step_without_fills_leaves_the_open_trade_unchanged() -> None:
    known = new_id()
    assert group_by_trade(StepOutcome(), known) == []
    assert open_trade_after([], known) == known


def test_every_fill_belongs_to_one_trade_and_every_trade_ends_once() -> None:
    strategy, terms, series = parse_strategy(CROSS), Terms(INSTRUMENT), Series(wavy_bars(300))
    execution = Execution(strategy, terms)
    open_trade: UUID | None = None
    seen: dict[UUID, int] = {}
    ended: list[UUID] = []
    for index in range(len(series)):
        by_trade = group_by_trade(execution.on_close(series, index), open_trade)
        for each in by_trade:
            assert each.opens == (each.trade_id not in seen)
            seen[each.trade_id] = seen.get(each.trade_id, 0) + len(each.fills)
            ended += [each.trade_id] if each.trade else []
        open_trade = open_trade_after(by_trade, open_trade)
        assert (open_trade is None) == (execution.position is None)
    report = run_backtest(strategy, series.bars, terms)
    still_open = 1 if open_trade else 0
    assert sum(seen.values()) == len(report.fills) - still_open
    assert len(ended) == len(set(ended)) == len(report.trades) - still_open
