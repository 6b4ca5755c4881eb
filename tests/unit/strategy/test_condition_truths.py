"""The truth of a condition evaluated bar by bar equals its truth over all bars at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.conditions.evaluation import truths
from shared.strategy.document.conditions import MAX_DEPTH, OPERATORS, parse_condition
from shared.strategy.indicators.recipes import IndicatorSpec
from shared.strategy.series import Series
from tests.unit.strategy.test_batch_equals_steps import walk

INDICATORS = {
    "fast": IndicatorSpec("EMA", period=2),
    "slow": IndicatorSpec("SMA", period=5),
    "bands": IndicatorSpec("BBANDS", period=4),
    "count": IndicatorSpec("CANDLES_ABOVE_EMA", period=3),
}
NAMES = ["open", "close", "high", "low", "volume", "fast", "slow", "bands.upper", "bands.lower", "count"]


def operands() -> st.SearchStrategy[object]:
    names = st.sampled_from(NAMES)
    numbers = st.sampled_from(["0", "1", "2", "100", "-3.5"])
    factors = st.sampled_from(["1", "0.99", "-2", "0"])
    shifted = st.fixed_dictionaries(
        {"ref": names}, optional={"shift": st.integers(0, 6), "mul": factors, "add": numbers}
    )
    return st.one_of(names, names, numbers, shifted)


def comparisons() -> st.SearchStrategy[object]:
    return st.fixed_dictionaries(
        {"left": operands(), "op": st.sampled_from(OPERATORS), "right": operands()},
        optional={"for_bars": st.integers(1, 7)},
    )


def conditions(depth: int = MAX_DEPTH - 4) -> st.SearchStrategy[object]:
    if depth == 1:
        return comparisons()
    inner = conditions(depth - 1)
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        comparisons(),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"all": several}),
        st.fixed_dictionaries({"any": several}),
    )


@settings(max_examples=400, deadline=None)
@given(
    raw=conditions(),
    seed=st.integers(0, 10**6),
    steps=st.lists(st.sampled_from([1, 1, 1, 2, 4, 5, 11]), min_size=1, max_size=6),
)
def test_truth_bar_by_bar_equals_truth_over_all_bars(raw: object, seed: int, steps: list[int]) -> None:
    condition, rows = parse_condition(raw, INDICATORS), walk(seed, 40)
    series, done = Series(), 0
    while done < len(rows):
        step = steps[done % len(steps)]
        series.extend(rows[done : done + step])
        done += step
        assert len(truths(condition, series)) == len(series)
    assert truths(condition, series) == truths(condition, Series(rows))


def test_a_condition_first_evaluated_late_covers_all_bars() -> None:
    rows = walk(1, 40)
    condition = parse_condition({"left": "fast", "op": ">", "right": "slow", "for_bars": 3}, INDICATORS)
    series = Series(rows[:20])
    series.values(INDICATORS["fast"])
    series.extend(rows[20:])
    assert truths(condition, series) == truths(condition, Series(rows))


@settings(max_examples=150, deadline=None)
@given(
    raws=st.lists(st.one_of(comparisons(), conditions()), min_size=1, max_size=12),
    seed=st.integers(0, 10**6),
    asks=st.lists(st.sets(st.integers(0, 11), max_size=12), min_size=1, max_size=7),
)
def test_many_conditions_on_a_series_do_not_disturb_each_other(
    raws: list[object], seed: int, asks: list[set[int]]
) -> None:
    """Each condition is evaluated at bars of its own, first in the middle of the series, or never."""
    conditions, rows, series = [parse_condition(raw, INDICATORS) for raw in raws], walk(seed, 40), Series()
    for index, bar in enumerate(rows):
        series.append(bar)
        for number in asks[index % len(asks)]:
            if number < len(conditions):
                assert len(truths(conditions[number], series)) == index + 1
    whole = Series(rows)
    for condition in conditions:
        assert truths(condition, series) == truths(condition, whole)
