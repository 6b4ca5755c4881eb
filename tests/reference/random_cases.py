"""Random cases: a strategy, the bars that it runs on, and the terms."""

import random
from dataclasses import dataclass
from decimal import Decimal

from shared.testing.random_strategies import RandomStrategy
from tests.reference.document import Json
from tests.reference.execution import Bar, Terms
from tests.reference.random_candles import RECORDED, add_halts, jumpy, recorded_slice


@dataclass(frozen=True)
class Case:
    """All inputs of a run."""

    seed: int
    document: Json
    bars: tuple[Bar, ...]
    terms: Terms
    trade_from: int | None
    is_recorded: bool
    has_halts: bool = False


def draw_terms(rng: random.Random, bars: tuple[Bar, ...]) -> Terms:
    """Draw terms whose steps are from fine to coarse enough to matter."""
    close = bars[0].close
    digits = close.adjusted()
    tick = Decimal(rng.choice((1, 1, 5))).scaleb(digits - rng.choice((5, 4, 3, 2)))
    step = Decimal(rng.choice((1, 1, 2))).scaleb(rng.choice((0, 1, 2, 3)) - digits - 1)
    return Terms(
        tick_size=tick,
        qty_step=step,
        min_order_qty=step * rng.choice((1, 1, 3)),
        min_notional=Decimal(rng.choice((0, 5, 5, 100, 500))),
        fee=Decimal(rng.choice(("0", "0.00055", "0.00055", "0.001", "0.0123"))),
        slippage=Decimal(rng.choice(("0", "0", "0.0002", "0.003", "0.02"))),
        initial_balance=Decimal(rng.choice(("10000", "10000", "2500.5", "300", "100000"))),
    )


def draw_case(seed: int) -> Case:
    """Return the case of a seed: the same on all machines with the recorded candles, and on all without them."""
    rng = random.Random(seed)
    wants_recorded, length = rng.random() < 0.4, rng.randrange(150, 420)
    is_recorded = wants_recorded and RECORDED.is_dir()
    interval, bars = (recorded_slice if is_recorded else jumpy)(rng, length)
    halts = random.Random(f"halts of {seed}")
    has_halts = halts.random() < 0.35
    if has_halts:
        bars = add_halts(halts, bars)
    trade_from = rng.choice(bars[: length // 3]).time - rng.randrange(2) if rng.random() < 0.2 else None
    terms = draw_terms(rng, bars)
    return Case(
        seed,
        RandomStrategy(rng, [bar.close for bar in bars]).document(interval),
        bars,
        terms,
        trade_from,
        is_recorded,
        has_halts,
    )
