import numpy as np
import pytest

from shared.strategy.bars import Bar
from shared.strategy.conditions.evaluation import evaluate
from shared.strategy.document.conditions import parse_condition
from shared.strategy.indicators.recipes import IndicatorSpec
from shared.strategy.series import Series
from tests.unit.strategy.scenes import ALWAYS, NEVER, bars

SLOW = {"slow": IndicatorSpec("SMA", period=3)}
UNDEFINED = {"left": "slow", "op": ">", "right": 0}  # undefined at the first two bars


def truths(raw: object, rows: list[Bar]) -> list[bool | None]:
    series = Series(rows)
    condition = parse_condition(raw, SLOW)
    return [evaluate(condition, series, index) for index in range(len(series))]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (">", [False, False, True]),
        (">=", [False, True, True]),
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
        ("==", [False, True, False]),
        ("crosses_above", [None, False, True]),
        ("crosses_below", [None, False, False]),
    ],
)
def test_an_operator_compares_each_bar(op: str, expected: list[bool | None]) -> None:
    assert truths({"left": "close", "op": op, "right": "2"}, bars("1", "2", "3")) == expected


def test_a_cross_below_starts_at_or_above() -> None:
    falling = truths({"left": "close", "op": "crosses_below", "right": 2}, bars("2", "1", "3", "1"))
    assert falling == [None, True, False, True]


def test_a_cross_is_undefined_while_one_of_its_four_values_is() -> None:
    raw = {"left": "close", "op": "crosses_above", "right": "slow"}
    assert truths(raw, bars("1", "1", "1", "9"))[2:] == [None, True]


def test_two_numbers_cannot_cross_before_the_first_bar() -> None:
    assert truths({"left": 2, "op": "crosses_above", "right": 1}, bars("1", "1")) == [None, False]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (UNDEFINED, None),
        ({"not": UNDEFINED}, None),
        ({"not": ALWAYS}, False),
        ({"all": [UNDEFINED, ALWAYS]}, None),
        ({"all": [UNDEFINED, NEVER]}, False),
        ({"all": [ALWAYS, ALWAYS]}, True),
        ({"any": [UNDEFINED, ALWAYS]}, True),
        ({"any": [UNDEFINED, NEVER]}, None),
        ({"any": [NEVER, NEVER]}, False),
    ],
)
def test_truth_has_three_values(raw: object, expected: bool | None) -> None:
    assert truths(raw, bars("1"))[0] is expected


def test_for_bars_includes_earlier_bars_and_those_before_the_first_are_undefined() -> None:
    raw = {"left": "close", "op": ">", "right": 1, "for_bars": 3}
    assert truths(raw, bars("2", "1", "2", "2", "2")) == [None, False, False, False, True]


def test_a_ref_shifts_then_multiplies_then_adds() -> None:
    raw = {"left": {"ref": "close", "shift": 2, "mul": "2", "add": "-1"}, "op": "==", "right": "5"}
    assert truths(raw, bars("3", "1", "9", "9")) == [None, None, True, False]


def test_a_shift_beyond_the_series_is_undefined() -> None:
    raw = {"left": {"ref": "close", "shift": 500}, "op": ">", "right": 0}
    assert truths(raw, bars("1", "1")) == [None, None]


def test_bar_by_bar_gives_the_same_as_all_bars_at_once() -> None:
    rng = np.random.default_rng(7)
    rows = bars(*(str(price) for price in rng.integers(1, 6, 60)))
    raw = {
        "any": [
            {"left": {"ref": "close", "shift": 2}, "op": ">=", "right": "slow", "for_bars": 4},
            {"not": {"left": "close", "op": "<=", "right": "slow", "for_bars": 2}},
        ]
    }
    condition, series = parse_condition(raw, SLOW), Series()
    one_by_one = []
    for bar in rows:
        series.append(bar)
        one_by_one.append(evaluate(condition, series, len(series) - 1))
    assert one_by_one == truths(raw, rows)
    assert set(one_by_one) == {True, False, None}


def test_conditions_that_differ_in_names_only_are_computed_once() -> None:
    other = parse_condition({"left": "average", "op": ">", "right": "0.0"}, {"average": SLOW["slow"]})
    assert other.key == parse_condition({"left": "slow", "op": ">", "right": "0.0"}, SLOW).key
