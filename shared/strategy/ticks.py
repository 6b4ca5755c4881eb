"""A series in integers: prices as numbers of ticks, exact or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from operator import attrgetter, mod

import numpy as np
import numpy.typing as npt

from shared.strategy.bars import DAY_MS, Bar
from shared.strategy.decimals import exact
from shared.strategy.tolerance import Values

Integers = npt.NDArray[np.int64]
_LARGEST = 2.0**49  # below it, a quotient of two floats is less than half a tick from the exact number of ticks


@dataclass(frozen=True, slots=True)
class Ticks:
    """Prices in ticks, open times and UTC days of each bar; and the extremes of the prices."""

    opens: Integers
    highs: Integers
    lows: Integers
    closes: Integers
    times: Integers
    days: Integers
    lowest: int
    highest: int
    lowest_close: int
    highest_close: int


def to_ticks(bars: Sequence[Bar], columns: Sequence[Values], tick: Decimal) -> Ticks | None:
    """Return the bars, at least one, in ticks; None if a price is not a multiple of the tick, or beyond 2⁴⁹ ticks.

    `columns` are open, high, low and close as floats. They give the numbers; the decimals prove them.
    """
    if not all(np.isfinite(column).all() for column in columns):
        return None
    ticks = [np.rint(column / float(tick)) for column in columns]
    if any(np.abs(each).max(initial=0.0) >= _LARGEST for each in ticks):
        return None
    with exact():
        for name in ("open", "high", "low", "close"):
            if any(map(mod, map(attrgetter(name), bars), repeat(tick))):
                return None
    times = np.fromiter((bar.open_time_ms for bar in bars), np.int64, len(bars))
    prices = opens, highs, lows, closes = [each.astype(np.int64) for each in ticks]
    lowest, highest = min(int(each.min()) for each in prices), max(int(each.max()) for each in prices)
    return Ticks(
        opens, highs, lows, closes, times, times // DAY_MS, lowest, highest, int(closes.min()), int(closes.max())
    )
