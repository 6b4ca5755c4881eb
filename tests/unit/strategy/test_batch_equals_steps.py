"""A backtest over all bars, and steps bar by bar with restarts at any point, give the same fills and the same
state."""

import json
import random
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.document.parse import Strategy, parse_strategy
from shared.strategy.execution.outcome import Fill, Trade
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from shared.testing.random_strategies import SHORT_PERIODS, RandomStrategy
from tests.unit.strategy.scenes import HOUR, START, document


def random_plan(seed: int, rows: Sequence[Bar]) -> Strategy:
    """Return the strategy of a seed. Most seeds trade on these rows, of which there may be few."""
    draw = RandomStrategy(random.Random(seed), [row.close for row in rows], SHORT_PERIODS)
    return parse_strategy(draw.document("60"))


def walk(seed: int, count: int) -> list[Bar]:
    """Jumpy bars with gaps in time and in price; with every third seed also halts without volume."""
    rng = np.random.default_rng(seed)
    price, time_ms, rows, halt = 1000, START, [], 0
    for _ in range(count):
        halt = int(rng.integers(6, 16)) if seed % 3 == 0 and rng.random() < 0.05 else halt - 1
        if halt > 0:
            rows.append(Bar._make([time_ms, *([Decimal(price) / 10] * 4), Decimal(0)]))
            time_ms += HOUR
            continue
        opened = max(50, price + int(rng.normal(0, 8)))
        price = max(50, opened + int(rng.normal(0, 25)))
        high = max(opened, price) + int(abs(rng.normal(0, 15)))
        low = max(1, min(opened, price) - int(abs(rng.normal(0, 15))))
        prices = [Decimal(each) / 10 for each in (opened, high, low, price)]
        rows.append(Bar._make([time_ms, *prices, Decimal(1)]))
        time_ms += HOUR * int(rng.choice([1, 1, 1, 1, 1, 3]))
    return rows


@settings(max_examples=150, deadline=None)
@given(
    plan_seed=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
    slippage=st.sampled_from(["0", "0.002"]),
    first=st.sampled_from([None, START + 20 * HOUR]),
    restarts=st.sets(st.integers(0, 79), max_size=12),
)
def test_batch_equals_steps_with_restarts(
    plan_seed: int, seed: int, slippage: str, first: int | None, restarts: set[int]
) -> None:
    rows = walk(seed, 80)
    plan = random_plan(plan_seed, rows)
    terms = Terms(Instrument(tick_size=Decimal("0.05")), Decimal("0.00055"), Decimal(slippage))
    report = run_backtest(plan, rows, terms, first)
    series, execution = Series(), Execution(plan, terms, first)
    fills: list[Fill] = []
    trades: list[Trade] = []
    stored, stored_at = (
        json.dumps(execution.snapshot()),
        -1,
    )  # as of the last step with a result that must be stored
    for index, bar in enumerate(rows):
        if index in restarts:
            again = Execution.restore(plan, terms, first, json.loads(stored))
            for missed in range(stored_at + 1, index):
                assert not again.on_open(series.bar(missed).open_time_ms, series.bar(missed).open).must_be_stored
                assert not again.on_close(series, missed).must_be_stored
            assert again.snapshot() == execution.snapshot()
            execution = again
        outcomes = []
        if seed % 2 or index % 3:  # a bar that was never announced is opened by its close
            outcomes.append(execution.on_open(bar.open_time_ms, bar.open))
            if index in restarts:
                execution = Execution.restore(plan, terms, first, json.loads(json.dumps(execution.snapshot())))
        series.append(bar)
        outcomes.append(execution.on_close(series))
        for outcome in outcomes:
            fills += outcome.fills
            trades += outcome.trades
        if any(outcome.must_be_stored for outcome in outcomes):
            stored, stored_at = json.dumps(execution.snapshot()), index
    last = execution.stop(rows[-1].open_time_ms, rows[-1].close, "end_of_data")
    assert tuple(fills) + last.fills == report.fills
    assert tuple(trades) + last.trades == report.trades
    assert execution.equity == report.final_equity


def test_the_state_of_another_strategy_is_refused() -> None:
    snapshot = Execution(parse_strategy(document()), Terms()).snapshot()
    for change in ({"strategy": "0"}, {"version": 2}):
        try:
            Execution.restore(parse_strategy(document()), Terms(), None, {**snapshot, **change})
        except ValueError:
            continue
        raise AssertionError(f"{change} was accepted")
