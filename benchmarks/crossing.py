"""The case for the engine's benchmarks: a year of one-minute bars, an EMA cross with a stop and a target."""

import random
from collections.abc import Sequence
from decimal import Decimal
from functools import cache

import numpy as np
import numpy.typing as npt

from shared.strategy.bars import Bar
from shared.strategy.document.parse import Strategy, parse_strategy

YEAR = 525_600
FEE = 0.00055
STOP, TARGET = 0.02, 0.04
Columns = dict[str, npt.NDArray[np.float64]]


def document(fast: int = 12, slow: int = 26) -> dict[str, object]:
    """Return a strategy that is long while the fast EMA is above the slow one."""
    return {
        "strategy_name": "cross",
        "strategy_config": {
            "interval": "1",
            "side": "LONG",
            "indicators": {"fast": {"type": "EMA", "period": fast}, "slow": {"type": "EMA", "period": slow}},
        },
        "entry_conditions": {"left": "fast", "op": "crosses_above", "right": "slow"},
        "exit_conditions": {"left": "fast", "op": "crosses_below", "right": "slow"},
        "risk_management": {
            "position_size": {"type": "percent_of_equity", "value": "50"},
            "stop_loss": {"type": "percent", "value": "2"},
            "take_profits": [{"type": "percent", "value": "4", "close_percent": "100"}],
        },
    }


def strategy(fast: int = 12, slow: int = 26) -> Strategy:
    return parse_strategy(document(fast, slow))


@cache
def year() -> tuple[Bar, ...]:
    return tuple(synthetic_bars(YEAR))


def synthetic_bars(count: int, seed: int = 1) -> list[Bar]:
    """Return a random walk from 50,000 in steps of a tenth, 0.08 % per bar."""
    draw, price, bars = random.Random(seed), 500_000, []
    for number in range(count):
        close = max(1_000, price + round(draw.gauss(0, 400)))
        high = max(price, close) + draw.randint(0, 200)
        low = min(price, close) - draw.randint(0, 200)
        prices = [Decimal(each).scaleb(-1) for each in (price, high, low, close)]
        bars.append(Bar._make([number * 60_000, *prices, Decimal(5)]))
        price = close
    return bars


def columns(bars: Sequence[Bar]) -> Columns:
    """Return open, high, low and close as float arrays."""
    names = ("open", "high", "low", "close")
    return {name: np.array([float(getattr(bar, name)) for bar in bars]) for name in names}
