"""The bars at which alerts must fire, computed in plain Python without TA-Lib and without the evaluator."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise

from shared.strategy.bars import Bar
from shared.strategy.series import Series

Holds = Callable[[int], bool | None]


def series_of(*closes: str, volumes: Sequence[int] = ()) -> Series:
    """Bars of a single price each, one a minute from 1970 on."""
    bars = []
    for number, close in enumerate(closes):
        price = Decimal(close)
        bars.append(Bar(number * 60_000, price, price, price, price, Decimal(volumes[number] if volumes else 1)))
    return Series(bars)


def ema(closes: Sequence[Decimal], period: int) -> list[float | None]:
    """Starts with the mean of the first `period` closes, at the last of them."""
    values = [float(close) for close in closes]
    averages: list[float | None] = [None] * (period - 1)
    current = sum(values[:period]) / period
    averages.append(current)
    for value in values[period:]:
        current += (value - current) * 2 / (period + 1)
        averages.append(current)
    return averages


def rising_edges(count: int, holds: Holds) -> list[int]:
    """Return the bars at which the condition holds but did not hold at the bar before."""
    return [index for index in range(count) if holds(index) and not (index and holds(index - 1))]


def price_above(bars: Sequence[Bar], value: str) -> list[int]:
    return rising_edges(len(bars), lambda t: bars[t].close > Decimal(value))


def crosses(bars: Sequence[Bar], fast: int, slow: int) -> list[int]:
    """Return where the fast average crosses above the slow one."""
    quick, lazy = ema([bar.close for bar in bars], fast), ema([bar.close for bar in bars], slow)
    difference = [None if a is None or b is None else a - b for a, b in zip(quick, lazy, strict=True)]
    return [
        t
        for t, (before, now) in enumerate(pairwise(difference), 1)
        if before is not None and now is not None and before <= 0 < now
    ]


def heavy(bars: Sequence[Bar], period: int, multiple: int) -> list[int]:
    """Return where the volume rises above a multiple of the mean volume of the bars before."""

    def holds(t: int) -> bool:
        return t >= period and bars[t].volume * period > multiple * sum(bar.volume for bar in bars[t - period : t])

    return rising_edges(len(bars), holds)


def breaks_out(bars: Sequence[Bar], period: int) -> list[int]:
    """Return where the close rises above the highest high of the bars before."""
    return rising_edges(
        len(bars), lambda t: t >= period and bars[t].close > max(bar.high for bar in bars[t - period : t])
    )


BREAKOUT: dict[str, object] = {
    "indicators": {"top": {"type": "HIGHEST", "period": 12}},
    "condition": {"all": [{"left": "close", "op": ">", "right": {"ref": "top", "shift": 1}}]},
}
