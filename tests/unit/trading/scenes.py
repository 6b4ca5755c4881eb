"""A strategy that trades often, and a random walk for it."""

import random
from decimal import Decimal

from shared.strategy.bars import INTERVAL_MS, Bar, Instrument

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
INTERVAL = "15"
STEP_MS = INTERVAL_MS[INTERVAL]
INSTRUMENT = Instrument()
CROSS: dict[str, object] = {
    "strategy_name": "cross",
    "strategy_config": {
        "interval": INTERVAL,
        "side": "BOTH",
        "indicators": {"fast": {"type": "EMA", "period": 3}, "slow": {"type": "EMA", "period": 8}},
    },
    "entry_conditions": {
        "long": {"left": "fast", "op": "crosses_above", "right": "slow"},
        "short": {"left": "fast", "op": "crosses_below", "right": "slow"},
    },
    "exit_conditions": {
        "long": {"left": "fast", "op": "crosses_below", "right": "slow"},
        "short": {"left": "fast", "op": "crosses_above", "right": "slow"},
    },
    "risk_management": {
        "position_size": {"type": "percent_of_equity", "value": "50"},
        "stop_loss": {"type": "percent", "value": "2"},
        "take_profits": [{"type": "percent", "value": "3", "close_percent": "50"}],
        "trailing_stop": {"type": "percent", "value": "2", "activation": "1"},
    },
}


def wavy_bars(count: int, seed: int = 7, start_ms: int = START_MS) -> list[Bar]:
    """A random walk around 100."""
    draw = random.Random(seed)
    bars, price = [], Decimal(100)
    for index in range(count):
        close = max(price + Decimal(draw.randint(-160, 160)) / 100, Decimal(20))
        high = max(price, close) + Decimal(draw.randint(0, 60)) / 100
        low = min(price, close) - Decimal(draw.randint(0, 60)) / 100
        bars.append(Bar(start_ms + index * STEP_MS, price, high, low, close, Decimal(draw.randint(1, 50))))
        price = close
    return bars
