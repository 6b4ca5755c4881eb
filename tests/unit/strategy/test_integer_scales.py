"""Which runs are in integers, and the numbers that they are computed from."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from shared.strategy.backtest.integers.distances import distance_codes
from shared.strategy.backtest.integers.scales import digits
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar
from shared.strategy.series import Series
from shared.strategy.ticks import to_ticks
from tests.unit.strategy.scenes import at_close, bars, strategy, terms

ROWS = ("100", "100", "110", "110", "90", "95")
PLAN = strategy(at_close("100"), at_close("110"))
GROWING = {"position_size": {"type": "percent_of_equity", "value": 100}, "leverage": 100}


def arithmetic(**changes: Decimal) -> str:
    return run_backtest(PLAN, bars(*ROWS), terms(**changes)).arithmetic


def test_a_usual_run_is_in_integers() -> None:
    assert arithmetic() == "integer"


@pytest.mark.parametrize(
    "changes",
    [
        {"tick_size": Decimal(3)},  # prices are no multiples of it
        {"initial_balance": Decimal("100.000000001")},  # finer than 10⁻⁸
        {"initial_balance": Decimal(10) ** 20},
        {"fee": Decimal("0.000000000000000001")},
        {"qty_step": Decimal(1).scaleb(-18)},
    ],
    ids=str,
)
def test_what_does_not_fit_is_in_decimals(changes: dict[str, Decimal]) -> None:
    assert arithmetic(**changes) == "decimal"


def test_equity_that_grows_beyond_the_bound_sends_the_whole_run_to_decimals() -> None:
    """Each trade wins a tenth of a hundredfold position; at some point the next quantity would not fit."""
    plan = strategy(at_close("100"), at_close("110"), risk=GROWING)
    rounds = bars(*["100", "100", "110", "110"] * 12)
    short, long = (run_backtest(plan, rounds[: 4 * count], terms()) for count in (2, 12))
    assert (short.arithmetic, long.arithmetic) == ("integer", "decimal")
    assert long.trades[:2] == short.trades


def test_candles_in_ticks_are_exact_or_refused() -> None:
    rows = bars("0.3 0.5 0.1 0.2", "1E+3")
    series = Series(rows)
    columns = [series.column(name) for name in ("open", "high", "low", "close")]
    ticks = to_ticks(rows, columns, Decimal("0.1"))
    assert ticks is not None
    assert [each.tolist() for each in (ticks.opens, ticks.highs, ticks.lows, ticks.closes)] == [
        [3, 10_000], [5, 10_000], [1, 10_000], [2, 10_000],
    ]  # fmt: skip
    assert to_ticks(rows, columns, Decimal("0.2")) is None


@pytest.mark.parametrize("price", ["0.30000000000000000001", "1E+400", "1E+15"])
def test_a_price_that_floats_cannot_tell_from_a_multiple_is_refused(price: str) -> None:
    row = Bar._make([0, *[Decimal(price)] * 4, Decimal(1)])
    assert Series([row]).ticks(Decimal("0.1")) is None


def test_ticks_follow_a_series_that_grows() -> None:
    rows = bars("1", "2", "3")
    series = Series(rows[:2])
    assert len(series.ticks(Decimal(1)).closes) == 2  # type: ignore[union-attr]  # multiples of the tick
    series.append(rows[2])
    assert len(series.ticks(Decimal(1)).closes) == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.5", (5, 1)), ("100", (100, 0)), ("1E+2", (100, 0)), ("0.00250", (25, 4))],
)
def test_a_decimal_as_digits_and_places(value: str, expected: tuple[int, int]) -> None:
    assert digits(Decimal(value)) == expected


def test_distance_codes_round_as_prices_do() -> None:
    """Also half-way between two ticks, where up and down differ; -1 where the indicator is not above 0."""
    closes = ["1", "2", "2.5", "3", "0.05", "1.55", "1.45"]
    series = Series(bars(*closes))
    for multiple in ("1", "0.5", "0.1", "1.5", "0.333"):
        plan = strategy(
            indicators={"level": {"type": "HIGHEST", "period": 2, "source": "close"}},
            risk={"stop_loss": {"type": "atr", "value": multiple, "indicator": "level"}},
        )
        found = distance_codes(plan.risk, series, Decimal("0.1"), np.ones(len(closes), dtype=np.bool_))[0].tolist()
        highest = [None, *(max(map(Decimal, closes[at - 1 : at + 1])) for at in range(1, len(closes)))]
        for level, code in zip(highest, found, strict=True):
            if level is None:
                assert code == -1
                continue
            ticks = Fraction(level) * Fraction(multiple) * 10
            up, down = (ticks + Fraction(1, 2)) // 1, -((Fraction(1, 2) - ticks) // 1)
            assert ((code + 1) // 2, code // 2) == (up, down)
