"""Thresholds evaluated together give the same results as the evaluator does one by one."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shared.strategy.bars import Bar
from shared.strategy.conditions.evaluation import evaluate
from shared.strategy.conditions.rising_edge import (
    ThresholdCondition,
    as_threshold,
    find_rising_edges,
    find_threshold_edges,
)
from shared.strategy.document.conditions import OPERATORS
from shared.strategy.document.nodes import Condition
from shared.strategy.document.parse import parse_alert
from shared.strategy.series import Series

PRICES = st.lists(st.integers(8, 14), min_size=1, max_size=40)
INDICATORS = {"mean": {"type": "SMA", "period": 4}}
VALUES: list[object] = [
    "close",
    "volume",
    "mean",
    {"ref": "mean", "shift": 2, "mul": 2, "add": -1},
    {"ref": "close", "shift": 1},
]


def condition(value: object, op: str, number: int, **more: object) -> Condition:
    compared = {"left": value, "op": op, "right": number, **more}
    return parse_alert({"indicators": INDICATORS, "condition": compared}).condition


def series_of(prices: list[int]) -> Series:
    bars = [Bar(number * 60_000, *[Decimal(price)] * 5) for number, price in enumerate(prices)]
    return Series(bars)


@given(PRICES, st.sampled_from(VALUES), st.sampled_from(OPERATORS), st.data())
def test_thresholds_together_have_the_same_rising_edges_as_each_alone(
    prices: list[int], value: object, op: str, data: st.DataObject
) -> None:
    series = series_of(prices)
    stop = data.draw(st.integers(1, len(prices)))
    start = data.draw(st.integers(0, stop - 1))
    conditions = [condition(value, op, number) for number in range(7, 16)]
    thresholds = [threshold for each in conditions if (threshold := as_threshold(each))]
    assert len(thresholds) == len(conditions)
    assert len({threshold.group_key for threshold in thresholds}) == 1
    expected = [
        (which, at)
        for at in range(start, stop)
        for which, each in enumerate(conditions)
        if evaluate(each, series, at) is True and (at == 0 or evaluate(each, series, at - 1) is not True)
    ]
    assert find_threshold_edges(thresholds, series, start, stop) == expected
    alone = [
        (which, at) for which, each in enumerate(conditions) for at in find_rising_edges(each, series, start, stop)
    ]
    assert sorted(alone) == sorted(expected)


def test_only_a_single_comparison_with_a_number_is_a_threshold() -> None:
    assert as_threshold(condition("close", ">", 10, for_bars=2)) is None
    for raw in (
        {"left": "close", "op": ">", "right": "open"},
        {"left": 10, "op": "<", "right": "close"},
        {"not": {"left": "close", "op": ">", "right": 10}},
        {"all": [{"left": "close", "op": ">", "right": 10}]},
    ):
        assert as_threshold(parse_alert({"condition": raw}).condition) is None


def test_thresholds_of_different_values_or_operators_have_different_group_keys() -> None:
    found = [as_threshold(condition(value, op, 1)) for value in VALUES for op in OPERATORS]
    group_keys = {each.group_key for each in found if isinstance(each, ThresholdCondition)}
    assert len(group_keys) == len(VALUES) * len(OPERATORS)
