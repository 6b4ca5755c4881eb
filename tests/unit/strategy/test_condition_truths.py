"""The truth of a condition evaluated bar by bar equals its truth over all bars at once."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.bars import Bar
from shared.strategy.conditions.evaluation import truths
from shared.strategy.document.conditions import parse_condition
from shared.strategy.document.indicators import parse_indicator
from shared.strategy.document.nodes import Condition
from shared.strategy.document.reader import DocumentReader
from shared.strategy.indicators.recipes import IndicatorSpec
from shared.strategy.series import Series
from shared.testing.random_strategies import SHORT_PERIODS, RandomStrategy
from tests.unit.strategy.test_batch_equals_steps import walk

LATE = {"fast": IndicatorSpec("EMA", period=2), "slow": IndicatorSpec("SMA", period=5)}


def random_conditions(seed: int, rows: Sequence[Bar], count: int) -> list[Condition]:
    """Return conditions of one strategy, on indicators with short periods."""
    draw = RandomStrategy(random.Random(seed), [row.close for row in rows], SHORT_PERIODS)
    for _ in range(4):
        draw.declare()
    reader = DocumentReader()
    indicators = {name: parse_indicator(reader, each, name) for name, each in draw.indicators.items()}
    reader.check()
    return [parse_condition(draw.condition(), indicators) for _ in range(count)]


@settings(max_examples=400, deadline=None)
@given(
    condition_seed=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
    steps=st.lists(st.sampled_from([1, 1, 1, 2, 4, 5, 11]), min_size=1, max_size=6),
)
def test_truth_bar_by_bar_equals_truth_over_all_bars(condition_seed: int, seed: int, steps: list[int]) -> None:
    rows = walk(seed, 40)
    (condition,) = random_conditions(condition_seed, rows, 1)
    series, done = Series(), 0
    while done < len(rows):
        step = steps[done % len(steps)]
        series.extend(rows[done : done + step])
        done += step
        assert len(truths(condition, series)) == len(series)
    assert truths(condition, series) == truths(condition, Series(rows))


def test_a_condition_first_evaluated_late_covers_all_bars() -> None:
    rows = walk(1, 40)
    condition = parse_condition({"left": "fast", "op": ">", "right": "slow", "for_bars": 3}, LATE)
    series = Series(rows[:20])
    series.values(LATE["fast"])
    series.extend(rows[20:])
    assert truths(condition, series) == truths(condition, Series(rows))


@settings(max_examples=150, deadline=None)
@given(
    condition_seed=st.integers(0, 10**6),
    count=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    asks=st.lists(st.sets(st.integers(0, 11), max_size=12), min_size=1, max_size=7),
)
def test_many_conditions_on_a_series_do_not_disturb_each_other(
    condition_seed: int, count: int, seed: int, asks: list[set[int]]
) -> None:
    """Each condition is evaluated at bars of its own, first in the middle of the series, or never."""
    rows, series = walk(seed, 40), Series()
    conditions = random_conditions(condition_seed, rows, count)
    for index, bar in enumerate(rows):
        series.append(bar)
        for number in asks[index % len(asks)]:
            if number < len(conditions):
                assert len(truths(conditions[number], series)) == index + 1
    whole = Series(rows)
    for condition in conditions:
        assert truths(condition, series) == truths(condition, whole)
