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

# What the strategy and the terms say: places in `rules` …
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
    bars = len(closes)
    mode, begin, limit = stretches[0, MODE], stretches[0, BEGIN], stretches[0, LIMIT]
    adverse, favourable = levels[0, ADVERSE], levels[0, FAVOURABLE]
    extreme, entry = levels[0, EXTREME], levels[0, ENTRY]
    trails = rules[TRAIL] > 0.0
    written = 0
    while written < most:
        if mode == FLAT:
            index = min(max(begin, limit), bars)
            while index < bars and entries[index] == 0:
                index += 1
        elif mode == LONG:
            trail = -np.inf
            index = begin
            while index < bars:
                if lows[index] <= adverse or opens[index] <= adverse:
                    break
                if highs[index] >= favourable or opens[index] >= favourable:
                    break
                if leaves_long[index] == 1 or index >= limit:
                    break
                if trails:
                    if extreme >= entry * (1.0 + rules[ACTIVATION]) * (1.0 - MARGIN):
                        trail = extreme * (1.0 - rules[TRAIL]) * (1.0 + MARGIN) + rules[TICK] * 0.6
                    if lows[index] <= trail or opens[index] <= trail:
                        break
                    extreme = max(extreme, highs[index])
                    if extreme >= entry * (1.0 + rules[ACTIVATION]) * (1.0 - MARGIN):
                        trail = extreme * (1.0 - rules[TRAIL]) * (1.0 + MARGIN) + rules[TICK] * 0.6
                    if closes[index] <= trail:
                        break
                index += 1
        else:
            trail = np.inf
            index = begin
            while index < bars:
                if highs[index] >= adverse or opens[index] >= adverse:
                    break
                if lows[index] <= favourable or opens[index] <= favourable:
                    break
                if leaves_short[index] == 1 or index >= limit:
                    break
                if trails:
                    if extreme <= entry * (1.0 - rules[ACTIVATION]) * (1.0 + MARGIN):
                        trail = extreme * (1.0 + rules[TRAIL]) * (1.0 - MARGIN) - rules[TICK] * 0.6
                    if highs[index] >= trail or opens[index] >= trail:
                        break
                    extreme = min(extreme, lows[index])
                    if extreme <= entry * (1.0 - rules[ACTIVATION]) * (1.0 + MARGIN):
                        trail = extreme * (1.0 + rules[TRAIL]) * (1.0 - MARGIN) - rules[TICK] * 0.6
                    if closes[index] >= trail:
                        break
                index += 1
        stretches[written, MODE] = mode
        stretches[written, BEGIN] = begin
        stretches[written, END] = index
        stretches[written, LIMIT] = limit
        levels[written, ADVERSE] = adverse
        levels[written, FAVOURABLE] = favourable
        written += 1
        if trails or index + 1 >= bars:
            break
        decided = index
        if mode != FLAT:
            if mode == LONG:
                stopped = lows[index] <= adverse or opens[index] <= adverse
                reached = highs[index] >= favourable or opens[index] >= favourable
            else:
                stopped = highs[index] >= adverse or opens[index] >= adverse
                reached = lows[index] <= favourable or opens[index] <= favourable
            if reached and not stopped and counts[ALL_AT_ONCE] == 0:
                break
            if stopped or reached:
                mode, begin = FLAT, index
            elif counts[REVERSES] == 1 and entries[index] == -mode:
                pass
            else:
                mode, begin = FLAT, index + 1
            if mode == FLAT:
                limit = begin + counts[COOLDOWN]
                continue
        mode = entries[decided]
        begin = decided + 1
        entry = opens[begin] * (1.0 + mode * rules[SLIPPAGE])
        margin = 2.0 * rules[TICK] + abs(entry) * MARGIN
        stop = entry * rules[STOP] if rules[STOP] > 0.0 else stop_distances[decided]
        target = entry * rules[TARGET] if rules[TARGET] > 0.0 else target_distances[decided]
        adverse = entry - mode * (stop - margin)
        favourable = entry + mode * (target - margin)
        limit = begin + counts[MAX_BARS] - 1 if counts[MAX_BARS] > 0 else bars
    return written
