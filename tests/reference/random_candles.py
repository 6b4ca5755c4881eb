"""Candles for random strategies: slices of recorded ones, jumpy generated ones, and halts in both."""

import csv
import gzip
import random
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from tests.reference.execution import DAY_MS, Bar

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "candles"
FILES = {
    "bybit_linear_BTCUSDT_1h.csv.gz": "60",
    "bybit_linear_ETHUSDT_1h.csv.gz": "60",
    "bybit_linear_DOGEUSDT_15m.csv.gz": "15",
    "bybit_linear_XRPUSDT_15m.csv.gz": "15",
    "freqtrade_XRPETH_1m.csv.gz": "1",
}
INTERVALS_MS = {
    "1": 60_000, "3": 180_000, "5": 300_000, "15": 900_000, "30": 1_800_000, "60": 3_600_000,
    "120": 7_200_000, "240": 14_400_000, "360": 21_600_000, "720": 43_200_000, "D": DAY_MS,
}  # fmt: skip


@lru_cache(maxsize=8)
def recorded(name: str) -> tuple[Bar, ...]:
    with gzip.open(RECORDED / name, "rt", encoding="ascii") as lines:
        return tuple(
            Bar(
                int(row["open_time_ms"]),
                *(Decimal(row[key]) for key in ("open", "high", "low", "close", "volume")),
            )
            for row in csv.DictReader(lines)
        )


def recorded_slice(rng: random.Random, length: int) -> tuple[str, tuple[Bar, ...]]:
    name = rng.choice(sorted(FILES))
    bars = recorded(name)
    first = rng.randrange(max(1, len(bars) - length))
    return FILES[name], bars[first : first + length]


def jumpy(rng: random.Random, length: int) -> tuple[str, tuple[Bar, ...]]:
    """Gaps in time, bars without volume, flat bars, opens far from the last close, and trends."""
    interval = rng.choice(list(INTERVALS_MS))
    step = INTERVALS_MS[interval]
    places = rng.choice((0, 1, 2, 3))
    grid = Decimal(1).scaleb(-places)
    price = Decimal(rng.choice((120, 1000, 30000)))
    volatility = rng.choice((0.002, 0.01, 0.03))
    time = 1_700_000_000_000 // DAY_MS * DAY_MS + rng.randrange(200) * step
    bars, drift = [], 0.0

    def moved(from_price: Decimal, by: float) -> Decimal:
        return max((from_price * Decimal(repr(1 + by))).quantize(grid), 20 * grid)

    for _ in range(length):
        if rng.random() < 0.05:
            drift = rng.choice((-1, 0, 1)) * volatility * 0.6
        if price < 50:
            drift = volatility
        opened = moved(price, rng.gauss(0, volatility * 4) if rng.random() < 0.08 else 0.0)
        kind = rng.random()
        if kind < 0.05:
            closed = high = low = opened
        else:
            jump = 0.12 if kind > 0.985 else 0.0
            closed = moved(opened, max(-0.5, rng.gauss(drift, volatility) + rng.choice((-jump, jump))))
            high = max(opened, closed, moved(max(opened, closed), abs(rng.gauss(0, volatility * 0.7))))
            low = min(opened, closed, moved(min(opened, closed), -min(0.5, abs(rng.gauss(0, volatility * 0.7)))))
        volume = Decimal(0) if rng.random() < 0.04 else Decimal(rng.randrange(1, 10**6)).scaleb(-2)
        bars.append(Bar(time, opened, high, low, closed, volume))
        price = closed
        time += step * (rng.randrange(2, 40) if rng.random() < 0.03 else 1)
    return interval, tuple(bars)


def add_halts(rng: random.Random, bars: tuple[Bar, ...]) -> tuple[Bar, ...]:
    """The same bars with halts: stretches at one price, most without volume, some rocking by one coarse tick."""
    out = list(bars)
    for _ in range(rng.randrange(1, 5)):
        first = rng.randrange(1, len(out))
        price, volume = out[first - 1].close, rng.choice((Decimal(0), Decimal(0), out[first].volume))
        tick = Decimal(1).scaleb(price.adjusted() - 1) if rng.random() < 0.3 else Decimal(0)
        for index in range(first, min(len(out), first + rng.randrange(3, 80))):
            now = price + tick * rng.randrange(2)
            out[index] = Bar(out[index].time, now, now, now, now, volume)
    return tuple(out)
