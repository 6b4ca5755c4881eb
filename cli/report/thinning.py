"""Downsampling for charts: candles are merged, curves keep their extremes. Metrics use the full data."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from shared.strategy.bars import Bar

MAX_CANDLES = 3_000
MAX_POINTS = 4_000

T = TypeVar("T")


def downsample_candles(bars: Sequence[Bar], most: int = MAX_CANDLES) -> tuple[list[Bar], int]:
    """Merge bars into at most `most` candles; returns them and the number of bars per candle."""
    size = max(1, -(-len(bars) // most))
    if size == 1:
        return list(bars), 1
    return [_merge(bars[start : start + size]) for start in range(0, len(bars), size)], size


def _merge(bars: Sequence[Bar]) -> Bar:
    return Bar(
        bars[0].open_time_ms,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum((bar.volume for bar in bars), Decimal(0)),
    )


def downsample_curve(points: Sequence[tuple[int, T]], most: int = MAX_POINTS) -> list[tuple[int, T]]:
    """Keep the first, lowest, highest and last point of each section, in order, so that no extreme is lost."""
    size = max(1, -(-4 * len(points) // most))
    if size <= 4:
        return list(points)
    selected: list[tuple[int, T]] = []
    for start in range(0, len(points), size):
        section = range(start, min(start + size, len(points)))
        by_value = sorted(section, key=lambda index: points[index][1])  # type: ignore[arg-type,return-value]  # numbers
        wanted = {section[0], by_value[0], by_value[-1], section[-1]}
        selected += [points[index] for index in sorted(wanted)]
    return selected
