"""Synthetic candles for the default demo: fixed seed, changing trends, a few jumps; no model of a real market."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

SEED = 20_260_101
FIRST_OPEN_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
INTERVAL = "60"
INTERVAL_MS = 60 * 60_000
BARS = 288  # twelve days
TICK = Decimal("0.01")


@dataclass(frozen=True)
class Market:
    symbol: str
    first_price: Decimal
    volatility: float  # of one bar's logarithmic return


MARKETS = (
    Market("BTCUSDT", Decimal("64000"), 0.0056),
    Market("ETHUSDT", Decimal("3200"), 0.0072),
)


def write_candles(folder: Path, seed: int = SEED, bars: int = BARS) -> dict[str, Path]:
    """Write one CSV per symbol to `folder`; the same seed gives the same bytes."""
    files = {}
    for market in MARKETS:
        files[market.symbol] = folder / f"synthetic_{market.symbol}_1h.csv"
        lines = ["open_time_ms,open,high,low,close,volume", *_rows(market, seed, bars)]
        files[market.symbol].write_text("\n".join(lines) + "\n")
    return files


def _rows(market: Market, seed: int, bars: int) -> Iterator[str]:
    rng = random.Random(f"{seed}:{market.symbol}")
    price = market.first_price
    drift = 0.0
    for bar in range(bars):
        if rng.random() < 0.02:  # a trend ends, another begins
            drift = rng.gauss(0, market.volatility / 3)
        jump = rng.gauss(0, market.volatility * 4) if rng.random() < 0.01 else 0.0
        close = _move(price, drift + jump + rng.gauss(0, market.volatility))
        high = max(_move(max(price, close), abs(rng.gauss(0, market.volatility / 2))), price, close)
        low = min(_move(min(price, close), -abs(rng.gauss(0, market.volatility / 2))), price, close)
        volume = Decimal(repr(round(rng.lognormvariate(4, 0.6) * (3 if jump else 1), 3)))
        yield f"{FIRST_OPEN_MS + bar * INTERVAL_MS},{price},{high},{low},{close},{volume}"
        price = close


def _move(price: Decimal, by: float) -> Decimal:
    return max((price * Decimal(repr(1 + by))).quantize(TICK), TICK)
