"""The scan, compiled and over floats, for bars on which something may happen. It does not decide what happens.

It may return a bar too many, never one too few: rounding decimals to floats keeps their order, so a price that
reaches a level does so here too. Beyond a fill whose price is only a guess, the scan moves its levels nearer by a
margin, and the caller checks them against the actual position.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
Sides = npt.NDArray[np.int8]

# Indexes of the strategy's and the terms' values in `rules` (an absent stop or target is infinitely far; one that
# is 0 is read from its column) …
SLIPPAGE, STOP, TARGET, TRAIL, ACTIVATION, TICK, RULES = range(7)
# … and in `counts`; -1 means no limit.
COOLDOWN, MAX_BARS, REVERSES, ALL_AT_ONCE, COUNTS = range(5)
# A stretch of bars on which nothing happens, as a row of integers (END: the bar on which something may happen) …
MODE, BEGIN, END, LIMIT, STRETCH = range(5)
# … and the levels at which it ends.
ADVERSE, FAVOURABLE, EXTREME, ENTRY, LEVELS = range(5)

FLAT, LONG, SHORT = 0, 1, -1
MARGIN = 1e-12


def scan(
    opens: Floats,
    highs: Floats,
    lows: Floats,
    closes: Floats,
    entries: Sides,
    exits_long: Flags,
    exits_short: Flags,
    stop_distances: Floats,
    target_distances: Floats,
    rules: Floats,
    counts: Integers,
    stretches: Integers,
    levels: Floats,
    max_stretches: int,
) -> int:
    """Write up to `max_stretches` stretches and return their number; the caller fills in the start of the first.

    Beyond the first event the scan guesses: an entry fills at the next open, a stop or target closes the whole
    position. It ends where it cannot guess, and after the first event of a strategy with a trailing stop.
    """
    bars, tick = len(closes), rules[TICK]
    mode, begin, limit = stretches[0, MODE], stretches[0, BEGIN], stretches[0, LIMIT]
    # Prices of a short position are negated, so that the comparisons for a long position hold for both.
    adverse, favourable = mode * levels[0, ADVERSE], mode * levels[0, FAVOURABLE]
    extreme, entry = mode * levels[0, EXTREME], mode * levels[0, ENTRY]
    trailing = rules[TRAIL] > 0.0
    written = 0
    while written < max_stretches:
        index = min(max(begin, limit), bars) if mode == FLAT else begin
        while mode == FLAT and index < bars and entries[index] == 0:
            index += 1
        worst, best, exits = (lows, highs, exits_long) if mode == LONG else (highs, lows, exits_short)
        trail = (1.0 - mode * rules[TRAIL]) * (1.0 + mode * MARGIN)
        active_from = entry * (1.0 + mode * rules[ACTIVATION]) * (1.0 - mode * MARGIN)
        stopped = reached = False
        while mode != FLAT and index < bars:
            opened = mode * opens[index]
            stopped = mode * worst[index] <= adverse or opened <= adverse
            reached = mode * best[index] >= favourable or opened >= favourable
            if stopped or reached or exits[index] == 1 or index >= limit:
                break
            if trailing:
                if extreme >= active_from and min(mode * worst[index], opened) <= extreme * trail + 0.6 * tick:
                    break
                extreme = max(extreme, mode * best[index])
                if extreme >= active_from and mode * closes[index] <= extreme * trail + 0.6 * tick:
                    break
            index += 1
        stretches[written, MODE], stretches[written, BEGIN] = mode, begin
        stretches[written, END], stretches[written, LIMIT] = index, limit
        levels[written, ADVERSE], levels[written, FAVOURABLE] = mode * adverse, mode * favourable
        written += 1
        if trailing or index + 1 >= bars or (reached and not stopped and counts[ALL_AT_ONCE] == 0):
            break
        if stopped or reached:
            mode, begin, limit = FLAT, index, index + counts[COOLDOWN]
            continue
        if mode != FLAT and not (counts[REVERSES] == 1 and entries[index] == -mode):
            mode, begin, limit = FLAT, index + 1, index + 1 + counts[COOLDOWN]
            continue
        mode, begin = entries[index], index + 1
        limit = begin + counts[MAX_BARS] - 1 if counts[MAX_BARS] > 0 else bars
        filled = opens[begin] * (1.0 + mode * rules[SLIPPAGE])
        margin = 2.0 * tick + filled * MARGIN
        stop = filled * rules[STOP] if rules[STOP] > 0.0 else stop_distances[index]
        target = filled * rules[TARGET] if rules[TARGET] > 0.0 else target_distances[index]
        adverse, favourable = mode * filled - (stop - margin), mode * filled + (target - margin)
    return written
