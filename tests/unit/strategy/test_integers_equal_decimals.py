"""Backtests in integers, by Python and compiled, have the results of the execution in decimals.

INTEGER_CASES draws more cases than by default, INTEGER_SEED others.
"""

import os
import random
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from shared.market.instruments import instrument_of
from shared.strategy.backtest.integers.booking import book
from shared.strategy.backtest.integers.result import report_of
from shared.strategy.backtest.report import BacktestReport
from shared.strategy.backtest.run import first_decision, run_backtest
from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.document.parse import Strategy, parse_json, parse_strategy
from shared.strategy.series import Series
from tests.reference.random_cases import draw_case
from tests.unit.strategy.outside import CASES
from tests.unit.strategy.test_batch_equals_steps import random_plan, walk
from tests.unit.strategy.test_examples import Case, read_case

FIRST = int(os.environ.get("INTEGER_SEED", "0"))
COUNT = int(os.environ.get("INTEGER_CASES", "1000"))
CHUNK = 50


def in_integers(
    plan: Strategy, series: Series, terms: Terms, first_bar_ms: int | None, compiled: bool
) -> BacktestReport | None:
    first = first_decision(plan, series, first_bar_ms)
    booking = book(plan, series, terms, first, compiled)
    if booking is None:
        return None
    given_start = first_bar_ms is not None
    return report_of(booking, plan.content_hash, series, terms, first, given_start=given_start)


def equal_in_all(plan: Strategy, series: Series, terms: Terms, first_bar_ms: int | None = None) -> bool:
    """Return whether integers were possible; assert that their results are those of decimals."""
    expected = run_backtest(plan, series, terms, first_bar_ms, arithmetic="decimal")
    by_python, compiled = (in_integers(plan, series, terms, first_bar_ms, each) for each in (False, True))
    assert (by_python is None) == (compiled is None)
    if by_python is None or compiled is None:
        return False
    assert by_python == compiled == expected
    return True


def drawn(seed: int) -> tuple[Strategy, Series, Terms, int | None]:
    """Draw a case whose prices are multiples of the tick."""
    case, rng = draw_case(seed), random.Random(f"tick of {seed}")
    bars = [Bar(bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in case.bars]
    tick = instrument_of(bars).tick_size / rng.choice((1, 1, 1, 2, 5, 10))
    terms = case.terms
    instrument = Instrument(tick, terms.qty_step, terms.min_order_qty, terms.min_notional)
    on = Terms(instrument, terms.fee, terms.slippage, terms.initial_balance)
    return parse_strategy(case.document), Series(bars), on, case.trade_from


@pytest.mark.parametrize("begin", range(FIRST, FIRST + COUNT, CHUNK))
def test_random_strategies(begin: int) -> None:
    """An indicator's distance that is close to half a tick may be left to the decimals, but not more than that."""
    integers = 0
    for seed in range(begin, begin + CHUNK):
        plan, series, terms, first_bar_ms = drawn(seed)
        integers += equal_in_all(plan, series, terms, first_bar_ms)
    assert integers >= 0.96 * CHUNK


@pytest.mark.parametrize("begin", range(FIRST, FIRST + COUNT, CHUNK))
def test_at_the_edges_of_the_bound(begin: int) -> None:
    """Balances, prices and steps around those at which a product leaves 64 bits, on either side."""
    integers = 0
    for seed in range(begin, begin + CHUNK):
        rng = random.Random(f"edge {seed}")
        rows, digits = walk(seed, 90), rng.randrange(0, 9)
        tick = Decimal(1).scaleb(-1 - digits)
        shift = rng.randrange(0, 7)
        bars = [Bar._make([row[0], *(price * 10**shift for price in row[1:5]), row.volume]) for row in rows]
        step = Decimal(rng.choice((1, 2, 5))).scaleb(-rng.randrange(0, 10))
        instrument = Instrument(tick, step, step, Decimal(rng.choice((0, 5))))
        balance = Decimal(rng.randrange(1, 10**6)).scaleb(rng.randrange(-8, 7))
        fee = Decimal(rng.choice(("0", "0.00055", "0.000000123", "0.0123456789")))
        slippage = Decimal(rng.choice(("0", "0.0002", "0.00012345678")))
        terms = Terms(instrument, fee, slippage, balance)
        integers += equal_in_all(random_plan(seed, bars), Series(bars), terms)
    assert 0.1 * CHUNK <= integers <= 0.9 * CHUNK, "the draw is not around the edges"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_of_the_contract(path: Path) -> None:
    assert equal_in_all(*read_case(cast(Case, parse_json(path.read_bytes()))))
