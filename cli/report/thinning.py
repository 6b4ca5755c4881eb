"""Fewer points for a picture: candles put together, curves by their extremes. Only what is drawn gets coarser."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from shared.strategy.bars import Bar

MOST_CANDLES = 3_000
MOST_POINTS = 4_000

T = TypeVar("T")


def candles_to_draw(bars: Sequence[Bar], most: int = MOST_CANDLES) -> tuple[list[Bar], int]:
    """At most so many candles, and how many bars each of them is."""
    size = max(1, -(-len(bars) // most))
    if size == 1:
        return list(bars), 1
    return [_together(bars[start : start + size]) for start in range(0, len(bars), size)], size


def _together(bars: Sequence[Bar]) -> Bar:
    return Bar(
        bars[0].open_time_ms,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum((bar.volume for bar in bars), Decimal(0)),
    )


def curve_to_draw(points: Sequence[tuple[int, T]], most: int = MOST_POINTS) -> list[tuple[int, T]]:
    """First, lowest, highest and last of each stretch, in their order, so that no extreme is lost."""
    size = max(1, -(-4 * len(points) // most))
    if size <= 4:
        return list(points)
    kept: list[tuple[int, T]] = []
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        by_value = sorted(stretch, key=lambda index: points[index][1])  # type: ignore[arg-type,return-value]  # numbers
        wanted = {stretch[0], by_value[0], by_value[-1], stretch[-1]}
        kept += [points[index] for index in sorted(wanted)]
    return kept
