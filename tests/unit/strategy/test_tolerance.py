"""Rounding errors are no signal: on a market that does not move nothing crosses, nothing is above and nothing
varies."""

import math
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.backtest.integers.compiled import load
from shared.strategy.bars import Bar
from shared.strategy.conditions.evaluation import truths
from shared.strategy.conditions.operators import TRUE
from shared.strategy.document.conditions import OPERATORS, parse_condition
from shared.strategy.indicators.recipes import KINDS, IndicatorSpec
from shared.strategy.series import Series
from shared.strategy.tolerance import ABOVE, BELOW, EQUAL, UNORDERED, is_above, order, orders
from tests.unit.strategy.scenes import HOUR

FALL = 40
HALT = 120


def halted(seed: int) -> Series:
    """A random walk with two decimal places, then bars at its last price without volume."""
    rng = np.random.default_rng(seed)
    prices = [Decimal(9000 + int(each)) / 100 for each in np.cumsum(rng.integers(-40, 40, FALL))]
    rows = []
    for index, (before, price) in enumerate(pairwise([prices[0], *prices, *[prices[-1]] * HALT])):
        volume = Decimal(int(rng.integers(1, 10**6))) / 1000 if index < FALL else Decimal(0)
        opened = price if index >= FALL else before
        rows.append(Bar(index * HOUR, opened, max(opened, price), min(opened, price), price, volume))
    return Series(rows)


def flat(index: int, price: Decimal) -> Bar:
    return Bar(index * HOUR, price, price, price, price, Decimal(1))


def true_at(raw: dict[str, object], indicators: dict[str, IndicatorSpec], series: Series) -> list[int]:
    found = truths(parse_condition(raw, indicators), series)
    return [index for index, truth in enumerate(found) if truth == TRUE]


SEEDS = st.integers(0, 10**6)
STILL_AFTER = FALL + 20  # the longest period below; from here on no window contains a change
AVERAGES = {
    "fast": IndicatorSpec("SMA", period=5),
    "slow": IndicatorSpec("SMA", period=10),
    "weighted": IndicatorSpec("WMA", period=14),
    "middle": IndicatorSpec("BBANDS", period=20),
    "mean": IndicatorSpec("SMA", period=20, source="volume"),
}


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_averages_of_a_constant_price_equal_it_and_never_cross(seed: int) -> None:
    series = halted(seed)
    pairs = [("fast", "slow"), ("slow", "weighted"), ("close", "fast"), ("close", "middle.middle")]
    for left, right in pairs:
        for op in ("crosses_above", "crosses_below", ">", "<"):
            raw: dict[str, object] = {"left": left, "op": op, "right": right}
            assert [at for at in true_at(raw, AVERAGES, series) if at > STILL_AFTER] == []
    spike: dict[str, object] = {"left": "volume", "op": ">", "right": {"ref": "mean", "shift": 1, "mul": "3"}}
    assert [at for at in true_at(spike, AVERAGES, series) if at > STILL_AFTER] == []


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_on_a_halted_market_indicators_have_exact_values(seed: int) -> None:
    series = halted(seed)
    last = float(series.bar(len(series) - 1).close)

    def at_end(kind: str, **parameters: int) -> tuple[float, ...]:
        spec = IndicatorSpec(kind, **parameters)  # type: ignore[arg-type]  # parameters by their names
        return tuple(column[-1].item() for column in series.values(spec).values())

    assert at_end("SMA", period=7) == at_end("WMA", period=9) == (last,)
    assert at_end("BBANDS", period=20) == (last, last, last)
    assert at_end("STDDEV", period=20) == (0.0,)
    assert at_end("CCI", period=20) == (0.0,)
    assert at_end("MFI", period=14) == (0.0,)
    assert at_end("STOCH", fastk=14, slowk=3, slowd=3) == (0.0, 0.0)
    assert at_end("CANDLES_ABOVE_EMA", period=3) == (0.0,)
    assert at_end("DISTANCE_FROM_EMA", period=3) == (0.0,)
    assert at_end("MACD", fast=2, slow=4, signal=3) == (0.0, 0.0, 0.0)
    assert series.values(IndicatorSpec("STDDEV", period=20, source="volume"))["value"][-1] == 0.0


@pytest.mark.parametrize("kind", ["EMA", "DEMA", "TEMA"])
def test_a_constant_close_is_not_above_its_exponential_average(kind: str) -> None:
    price = Decimal("93.15")
    series = Series([Bar(index * HOUR, price, price, price, price, Decimal(1)) for index in range(200)])
    average = {"average": IndicatorSpec(kind, period=21)}
    for op in (">", "<", "crosses_above", "crosses_below"):
        assert true_at({"left": "close", "op": op, "right": "average"}, average, series) == []
    assert len(true_at({"left": "close", "op": "==", "right": "average"}, average, series)) > 100
    assert not series.values(IndicatorSpec("CANDLES_ABOVE_EMA", period=21))["value"][20:].any()


def test_the_rsi_is_0_on_a_market_that_never_moved_and_100_on_one_that_only_rose() -> None:
    still = Series([flat(index, Decimal("0.1")) for index in range(60)])
    risen = Series([flat(index, Decimal("0.1") + index) for index in range(60)])
    rsi = IndicatorSpec("RSI", period=14)
    assert set(still.values(rsi)["value"][14:].tolist()) == {0.0}
    assert set(risen.values(rsi)["value"][14:].tolist()) == {100.0}


def test_percentages_stay_within_their_bounds() -> None:
    """Rounding in the running mean of STOCH would give values below 0."""
    for seed in range(30):
        series = halted(seed)
        for spec in (IndicatorSpec("STOCH", fastk=5, slowk=3, slowd=3), IndicatorSpec("MFI", period=5)):
            for column in series.values(spec).values():
                defined = column[~np.isnan(column)]
                assert (defined >= 0).all()
                assert (defined <= 100).all()


@pytest.mark.parametrize(
    ("one", "other", "above"),
    [
        (93.14999999999998, 93.14999999999996, False),
        (0.0, -3.4e-14, True),  # at 0 the tolerance is 0: the rule for windows makes such a mean 0
        (1.0, 1.0 + 0.9e-9, False),
        (1.0 + 1.1e-9, 1.0, True),
        (1e-18 * (1 + 1e-8), 1e-18, True),
        (math.inf, 5.0, True),
        (5.0, -math.inf, True),
        (math.inf, math.inf, False),
        (math.nan, 1.0, False),
        (1.0, math.nan, False),
        (1.7e308, -1.7e308, True),
    ],
)
def test_above_means_by_more_than_rounding(one: float, other: float, above: bool) -> None:
    assert is_above(one, other) is above
    assert not is_above(other, one)


NUMBERS = st.floats() | st.floats(0.9999999985, 1.0000000015) | st.sampled_from([0.0, -0.0, 1e-320, 1.0, -1.0])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_arrays_are_compared_like_single_numbers(pairs: list[tuple[float, float]]) -> None:
    left, right = (np.array(each) for each in zip(*pairs, strict=True))
    found = orders(left, right).tolist()
    assert found == [order(one, other) for one, other in pairs]
    assert [each == ABOVE for each in found] == [is_above(one, other) for one, other in pairs]
    assert [each == BELOW for each in found] == [is_above(other, one) for one, other in pairs]
    assert [each != UNORDERED for each in found] == [one == one and other == other for one, other in pairs]


def test_long_arrays_are_compared_in_pieces() -> None:
    rng = np.random.default_rng(3)
    left = rng.choice([1.0, 1.0 + 1e-10, 2.0, np.nan], 50_000)
    right = rng.choice([1.0, 1.0 - 1e-10, 2.0, np.nan], 50_000)
    assert orders(left, right).tolist() == list(map(order, left.tolist(), right.tolist()))
    assert set(orders(left, right).tolist()) == {BELOW, EQUAL, ABOVE, UNORDERED}


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, data=st.data())
def test_on_halted_markets_conditions_bar_by_bar_equal_those_over_all_bars(seed: int, data: st.DataObject) -> None:
    indicators = {
        "a": IndicatorSpec("SMA", period=data.draw(st.integers(2, 12))),
        "b": IndicatorSpec("WMA", period=data.draw(st.integers(2, 12))),
        "c": IndicatorSpec("MACD", fast=3, slow=6, signal=2),
        "d": IndicatorSpec("CANDLES_ABOVE_EMA", period=4),
    }
    names = st.sampled_from(["a", "b", "close", "volume", "c.macd", "c.hist", "d", "0"])
    raw = {
        "left": data.draw(names),
        "op": data.draw(st.sampled_from(OPERATORS)),
        "right": data.draw(names),
        "for_bars": data.draw(st.integers(1, 3)),
    }
    condition, whole = parse_condition(raw, indicators), halted(seed)
    series = Series()
    for bar in whole.bars[: FALL + 30]:
        series.append(bar)
        truths(condition, series)
    assert truths(condition, series) == truths(condition, whole)[: FALL + 30]


def test_on_a_halted_market_every_indicator_bar_by_bar_equals_that_over_all_bars() -> None:
    usual = {"period": 5, "fast": 3, "slow": 6, "signal": 2, "fastk": 5, "slowk": 3, "slowd": 2}
    for kind, taken in KINDS.items():
        integers = {name: usual[name] for name in taken.integers}
        spec = IndicatorSpec(kind, **integers)  # type: ignore[arg-type]  # parameters by their names
        whole, series = halted(11), Series()
        for bar in whole.bars:
            series.append(bar)
            series.values(spec)
        for output, column in whole.values(spec).items():
            np.testing.assert_array_equal(series.values(spec)[output], column)


def test_the_compiled_order_of_long_arrays_is_that_of_single_values() -> None:
    rng = np.random.default_rng(7)
    special = np.array([0.0, -0.0, 1.0, 1.0 + 1e-9, 1.0 + 1.1e-9, 1e308, -1e308, np.inf, -np.inf, np.nan])
    left, right = (rng.choice(special, 9_000) for _ in range(2))
    near = left * (1 + rng.choice([-2e-9, -1e-9, -5e-10, 0.0, 5e-10, 1e-9, 2e-9], 9_000))
    constant = np.broadcast_to(1.0, 9_000)
    for one, other in ((left, right), (left, near), (left[::-1], right), (constant, left), (left, constant)):
        expected = [order(*pair) for pair in zip(one.tolist(), other.tolist(), strict=True)]
        assert load().orders(one, other).tolist() == expected
        assert orders(one[:100], other[:100]).tolist() == expected[:100]
