"""The scan for bars on which something may happen; compiled, over floats. What does happen is not its business.

It names a bar too many rather than one too few: floats are as large as the decimals they stand for or the same, so
that a price which reaches a level does so here too. Where it runs ahead of a fill whose price it only guesses, its
levels stand nearer by a margin, and who asked holds them to the position as it was booked.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]
Sides = npt.NDArray[np.int8]

# What the strategy and the terms say: places in `rules` (a stop or target that is not there is infinitely far, one
# that is 0 is read from its column) …
SLIPPAGE, STOP, TARGET, TRAIL, ACTIVATION, TICK, RULES = range(7)
# … and in `counts`; -1 where there is none.
COOLDOWN, MAX_BARS, REVERSES, ALL_AT_ONCE, COUNTS = range(5)
# A stretch of bars on which nothing happens, as a row of whole numbers (END: the bar on which something may) …
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
    leaves_long: Flags,
    leaves_short: Flags,
    stop_distances: Floats,
    target_distances: Floats,
    rules: Floats,
    counts: Integers,
    stretches: Integers,
    levels: Floats,
    most: int,
) -> int:
    """Writes up to `most` stretches, the first of which is given, and returns how many.

    Beyond the first event it goes on as if an entry were filled at the next open, a stop or target had closed all,
    and so on: a guess, and where it cannot guess, or with a trailing stop, it ends.
    """
    bars, tick = len(closes), rules[TICK]
    mode, begin, limit = stretches[0, MODE], stretches[0, BEGIN], stretches[0, LIMIT]
    # Prices of a short position are taken negative: what is said here of a long one holds for both.
    adverse, favourable = mode * levels[0, ADVERSE], mode * levels[0, FAVOURABLE]
    extreme, entry = mode * levels[0, EXTREME], mode * levels[0, ENTRY]
    trails = rules[TRAIL] > 0.0
    written = 0
    while written < most:
        index = min(max(begin, limit), bars) if mode == FLAT else begin
        while mode == FLAT and index < bars and entries[index] == 0:
            index += 1
        worst, best, leaves = (lows, highs, leaves_long) if mode == LONG else (highs, lows, leaves_short)
        follows = (1.0 - mode * rules[TRAIL]) * (1.0 + mode * MARGIN)
        trails_from = entry * (1.0 + mode * rules[ACTIVATION]) * (1.0 - mode * MARGIN)
        stopped = reached = False
        while mode != FLAT and index < bars:
            opened = mode * opens[index]
            stopped = mode * worst[index] <= adverse or opened <= adverse
            reached = mode * best[index] >= favourable or opened >= favourable
            if stopped or reached or leaves[index] == 1 or index >= limit:
                break
            if trails:
                if extreme >= trails_from and min(mode * worst[index], opened) <= extreme * follows + 0.6 * tick:
                    break
                extreme = max(extreme, mode * best[index])
                if extreme >= trails_from and mode * closes[index] <= extreme * follows + 0.6 * tick:
                    break
            index += 1
        stretches[written, MODE], stretches[written, BEGIN] = mode, begin
        stretches[written, END], stretches[written, LIMIT] = index, limit
        levels[written, ADVERSE], levels[written, FAVOURABLE] = mode * adverse, mode * favourable
        written += 1
        if trails or index + 1 >= bars or (reached and not stopped and counts[ALL_AT_ONCE] == 0):
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
