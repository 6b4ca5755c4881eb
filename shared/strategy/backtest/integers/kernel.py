"""The three steps of a bar in integers: prices in ticks, quantities in steps, equity in 10⁻⁸.

The rules are those of `execution/`, which is the reference; a property test holds both equal. `scales.py` proves
before each run that no value leaves 64 bits while equity is at most `CAP`. The functions run as Python, on lists,
or compiled by numba, on arrays (`compiled.py`).

An absent level (stop, trail, target) is 0, which no price reaches from above; for a short position see `_reaches`.
"""

from collections.abc import MutableSequence, Sequence
from typing import NamedTuple

from shared.strategy.backtest.integers.wide import floor_ratio, half_even_ratio, is_product_less
from shared.strategy.conditions.operators import TRUE
from shared.strategy.document.risk import MAX_TARGETS

Row = MutableSequence[int]
Column = Sequence[int]

FAR = 2**62
"""Beyond every price."""

# Reasons of fills, as codes.
ENTRY, SIGNAL, TIME, STOP_LOSS, TRAILING_STOP, TAKE_PROFIT, END_OF_DATA = range(7)

# Why a booking ended early; the decimals book the run then.
BEYOND_BOUND, UNDECIDED = 1, 2

# Indexes of `rules`. A ratio has two: numerator and denominator.
(
    BARS,
    FIRST,
    INITIAL,
    CAP,
    BUY,
    BUY_D,
    SELL,
    SELL_D,
    GROSS_FACTOR,
    FEE_FACTOR,
    PNL_D,
    SIZE_KIND,
    SIZE,
    SIZE_D,
    MOST,
    MOST_D,
    MIN_QTY,
    MIN_NOTIONAL,
    STOP_KIND,
    STOP_ABOVE,
    STOP_BELOW,
    STOP_D,
    TRAIL_ABOVE,
    TRAIL_BELOW,
    TRAIL_D,
    ACTIVE_ABOVE,
    ACTIVE_BELOW,
    ACTIVE_D,
    MAX_BARS,
    COOLDOWN,
    REVERSES,
    LOSS,
    LOSS_D,
    DISTANCES,
    TARGET_KIND,
    LEVELS,
    REST_LEVEL,
    TARGETS,
) = range(38)
# Per level, from TARGETS on.
(TARGET_ABOVE, TARGET_BELOW, TARGET_D, PART, PART_D, TARGET_RULES) = range(6)
RULES = TARGETS + MAX_TARGETS * TARGET_RULES

# SIZE_KIND: what the desired quantity is computed from.
OF_EQUITY, OF_CLOSE, FIXED, OF_DISTANCE = range(4)
# STOP_KIND and TARGET_KIND.
NONE, PERCENT, INDICATOR = range(3)

# Indexes of `state`.
(
    STATUS,
    EQUITY,
    ALLOWED_FROM,
    DAY,
    DAY_EQUITY,
    DAY_STOPPED,
    PENDING_EXIT,
    PENDING_SIDE,
    PENDING_QTY,
    DECIDED_AT,
    SIDE,
    ENTRY_PRICE,
    QTY,
    LEFT,
    GROSS,
    NOTIONAL,
    STOP,
    TRAIL,
    EXTREME,
    SPENT,
    HELD,
    FILLS,
    TRADES,
    PEAK,
    FALL,
    BELOW_PEAK,
    TARGET_PRICES,
) = range(27)
TARGET_PARTS = TARGET_PRICES + MAX_TARGETS
STATE = TARGET_PARTS + MAX_TARGETS

# Columns of the rows of fills and trades.
FILL_BAR, FILL_SIDE, FILL_REASON, FILL_QTY, FILL_PRICE, FILL_COLUMNS = range(6)
TRADE_EXIT_BAR, TRADE_BARS, TRADE_NOTIONAL, TRADE_PNL, TRADE_COLUMNS = range(5)


class Bars(NamedTuple):
    """The columns that the booking reads. Prices are ticks, `days` UTC days, the rest truths of conditions."""

    opens: Column
    highs: Column
    lows: Column
    closes: Column
    days: Column
    long_entry: Column
    short_entry: Column
    long_exit: Column
    short_exit: Column
    distances: Column
    """The codes (`distances.py`) of the stop's distance and then of each target's, where an indicator gives it."""
    stop_values: Sequence[float]
    """The indicator that a stop is computed from, if that decides the quantity."""


def book(bars: Bars, rules: Row, size_factor: float, state: Row, fills: Row, trades: Row) -> None:
    """Run all bars. Writes rows into `fills` and `trades`, and their numbers and the equity into `state`.

    If `state[STATUS]` is not 0 afterwards, the booking stopped early and its result means nothing.
    """
    begin(rules, state)
    count = rules[BARS]
    index = 0
    while index < count and state[STATUS] == 0:
        open_bar(bars, rules, state, fills, trades, index)
        if state[SIDE] == 0:
            index = next_entry(bars, max(index, state[ALLOWED_FROM]), count)
            if index < count:
                decide_entry(bars, rules, size_factor, state, index)
        else:
            quiet = index if rules[TRAIL_D] > 0 else next_event(bars, rules, state, index, count)
            state[HELD] += quiet - index
            index = quiet
            if index < count:
                close_bar(bars, rules, size_factor, state, fills, trades, index)
        index += 1
    if state[SIDE] != 0 and state[STATUS] == 0:
        close_part(bars, rules, state, fills, trades, count - 1, state[LEFT], bars.closes[count - 1], END_OF_DATA)


def begin(rules: Row, state: Row) -> None:
    for at in range(STATE):
        state[at] = 0
    state[EQUITY] = state[PEAK] = state[BELOW_PEAK] = rules[INITIAL]
    state[ALLOWED_FROM] = rules[FIRST]
    state[DAY] = -1


def next_entry(bars: Bars, index: int, count: int) -> int:
    """Return the first bar from `index` on at which the entry condition of one side is true; `count` if none."""
    long_entry, short_entry = bars.long_entry, bars.short_entry
    while index < count and long_entry[index] != TRUE and short_entry[index] != TRUE:
        index += 1
    return index


def next_event(bars: Bars, rules: Row, state: Row, index: int, count: int) -> int:
    """Return the first bar on which something may happen to the position, which has no trailing stop."""
    opens, highs, lows = bars.opens, bars.highs, bars.lows
    if rules[MAX_BARS] > 0:
        count = min(count, max(index, index + rules[MAX_BARS] - state[HELD] - 1))
    stop, target = state[STOP], 0
    if state[SPENT] < rules[LEVELS]:
        target = state[TARGET_PRICES + state[SPENT]]
    if state[SIDE] > 0:
        leaves = bars.long_exit
        target = target if target > 0 else FAR
        while index < count and leaves[index] != TRUE:
            if lows[index] <= stop or highs[index] >= target or opens[index] <= stop or opens[index] >= target:
                break
            index += 1
    else:
        leaves = bars.short_exit
        stop = stop if stop > 0 else FAR
        while index < count and leaves[index] != TRUE:
            if highs[index] >= stop or lows[index] <= target or opens[index] >= stop or opens[index] <= target:
                break
            index += 1
    return index


# Rounding. Ratios are of 64 bits here: `scales.py` bounds their products.


def nearest(ticks: int, numerator: int, denominator: int) -> int:
    """Return ticks × numerator ÷ denominator, rounded half-up."""
    return (2 * ticks * numerator + denominator) // (2 * denominator)


def market_price(rules: Row, ticks: int, buying: bool) -> int:
    """Return the fill price of a market order: slippage is adverse; at least one tick."""
    if rules[BUY] == rules[BUY_D]:
        return ticks
    if buying:
        return nearest(ticks, rules[BUY], rules[BUY_D])
    return max(1, nearest(ticks, rules[SELL], rules[SELL_D]))


# Step 1: at the open.


def open_bar(bars: Bars, rules: Row, state: Row, fills: Row, trades: Row, index: int) -> None:
    if state[PENDING_EXIT] == 0 and state[PENDING_SIDE] == 0:
        return
    reason, side = state[PENDING_EXIT], state[PENDING_SIDE]
    state[PENDING_EXIT] = state[PENDING_SIDE] = 0
    if reason != 0:
        price = market_price(rules, bars.opens[index], state[SIDE] < 0)
        close_part(bars, rules, state, fills, trades, index, state[LEFT], price, reason)
    if side != 0 and state[EQUITY] > 0:
        open_position(bars, rules, state, side, market_price(rules, bars.opens[index], side > 0))
        add_fill(state, fills, index, state[QTY], state[ENTRY_PRICE], ENTRY)


def open_position(bars: Bars, rules: Row, state: Row, side: int, price: int) -> None:
    """Open the decided position at `price`, from which stop and targets are computed."""
    qty, decided_at = state[PENDING_QTY], state[DECIDED_AT]
    state[SIDE], state[ENTRY_PRICE], state[EXTREME] = side, price, price
    state[QTY] = state[LEFT] = qty
    state[GROSS], state[NOTIONAL] = 0, price * qty
    state[SPENT] = state[HELD] = state[STOP] = 0
    distance = decided_at
    if rules[STOP_KIND] == PERCENT:
        state[STOP] = nearest(price, rules[STOP_BELOW] if side > 0 else rules[STOP_ABOVE], rules[STOP_D])
    elif rules[STOP_KIND] == INDICATOR:
        state[STOP] = moved(price, -side, bars.distances[distance])
        distance += rules[BARS]
    state[TRAIL] = trailing_stop(rules, state)
    for level in range(rules[LEVELS]):
        at = TARGETS + level * TARGET_RULES
        if rules[TARGET_KIND] == PERCENT:
            factor = rules[at + TARGET_ABOVE] if side > 0 else rules[at + TARGET_BELOW]
            state[TARGET_PRICES + level] = nearest(price, factor, rules[at + TARGET_D]) if factor > 0 else 0
        else:
            state[TARGET_PRICES + level] = moved(price, side, bars.distances[distance])
            distance += rules[BARS]
        state[TARGET_PARTS + level] = floor_ratio(qty, rules[at + PART], rules[at + PART_D])


def moved(price: int, up: int, code: int) -> int:
    """Return the price moved by an indicator's distance, rounded to the tick; 0 if it is not above 0."""
    if up > 0:
        return price + (code + 1) // 2
    return max(0, price - code // 2)


def trailing_stop(rules: Row, state: Row) -> int:
    """Return the trailing stop for the next bar; 0 while it is not active."""
    if rules[TRAIL_D] == 0:
        return 0
    extreme, entry = state[EXTREME], state[ENTRY_PRICE]
    if state[SIDE] > 0:
        if extreme * rules[ACTIVE_D] < entry * rules[ACTIVE_ABOVE]:
            return 0
        return nearest(extreme, rules[TRAIL_BELOW], rules[TRAIL_D])
    if extreme * rules[ACTIVE_D] > entry * rules[ACTIVE_BELOW]:
        return 0
    return nearest(extreme, rules[TRAIL_ABOVE], rules[TRAIL_D])


# Step 2: stops and targets.


def close_bar(bars: Bars, rules: Row, size_factor: float, state: Row, fills: Row, trades: Row, index: int) -> None:
    """Run steps 2 and 3 of a bar with an open position."""
    state[HELD] += 1
    apply_levels(bars, rules, state, fills, trades, index)
    if state[SIDE] == 0:
        if state[STATUS] == 0 and index >= state[ALLOWED_FROM]:
            decide_entry(bars, rules, size_factor, state, index)
        return
    if rules[TRAIL_D] > 0:
        long = state[SIDE] > 0
        extreme = max(state[EXTREME], bars.highs[index]) if long else min(state[EXTREME], bars.lows[index])
        if extreme != state[EXTREME]:
            state[EXTREME] = extreme
            state[TRAIL] = trailing_stop(rules, state)
    decide_exit(bars, rules, size_factor, state, index)


def is_stopped(side: int, price: int, stop: int) -> bool:
    return stop > 0 and (price <= stop if side > 0 else price >= stop)


def apply_levels(bars: Bars, rules: Row, state: Row, fills: Row, trades: Row, index: int) -> None:
    side, opened = state[SIDE], bars.opens[index]
    adverse, favourable = bars.lows[index], bars.highs[index]
    if side < 0:
        adverse, favourable = favourable, adverse
    stop, reason = state[STOP], STOP_LOSS
    trail = state[TRAIL]
    if trail > 0 and (stop == 0 or (trail > stop if side > 0 else trail < stop)):
        stop, reason = trail, TRAILING_STOP
    if is_stopped(side, opened, stop):
        price = market_price(rules, opened, side < 0)
        close_part(bars, rules, state, fills, trades, index, state[LEFT], price, reason)
        return
    take_profits(bars, rules, state, fills, trades, index, opened, True)
    if state[SIDE] == 0:
        return
    if is_stopped(side, adverse, stop):
        price = market_price(rules, stop, side < 0)
        close_part(bars, rules, state, fills, trades, index, state[LEFT], price, reason)
        return
    take_profits(bars, rules, state, fills, trades, index, favourable, False)


def take_profits(
    bars: Bars, rules: Row, state: Row, fills: Row, trades: Row, index: int, reached: int, at_open: bool
) -> None:
    while state[SIDE] != 0 and state[SPENT] < rules[LEVELS]:
        level = state[SPENT]
        target = state[TARGET_PRICES + level]
        if target == 0 or (reached < target if state[SIDE] > 0 else reached > target):
            return
        state[SPENT] += 1
        part = state[LEFT] if level == rules[REST_LEVEL] else state[TARGET_PARTS + level]
        if part > 0 and part >= rules[MIN_QTY]:
            price = reached if at_open else target
            close_part(bars, rules, state, fills, trades, index, part, price, TAKE_PROFIT)


# Step 3: at the close.


def decide_exit(bars: Bars, rules: Row, size_factor: float, state: Row, index: int) -> None:
    side = state[SIDE]
    leaves = bars.long_exit[index] if side > 0 else bars.short_exit[index]
    if is_stopped(side, bars.closes[index], state[TRAIL]):
        state[PENDING_EXIT] = TRAILING_STOP
    elif leaves == TRUE:
        state[PENDING_EXIT] = SIGNAL
    elif 0 < rules[MAX_BARS] <= state[HELD]:
        state[PENDING_EXIT] = TIME
    else:
        return
    if rules[REVERSES] == 1:
        decide_entry(bars, rules, size_factor, state, index)


def decide_entry(bars: Bars, rules: Row, size_factor: float, state: Row, index: int) -> None:
    """Decide an entry for the next open, if one side's condition is true and nothing forbids it."""
    if state[STATUS] != 0 or state[EQUITY] <= 0:
        return
    if state[DAY_STOPPED] == 1 and state[DAY] == bars.days[index]:
        return
    long, short = bars.long_entry[index] == TRUE, bars.short_entry[index] == TRUE
    if long == short:
        return
    side = 1 if long else -1
    if side == state[SIDE]:
        return
    for row in range(rules[DISTANCES]):
        if bars.distances[row * rules[BARS] + index] < 0:
            return
    qty = quantity(bars, rules, size_factor, state, index)
    if qty > 0 and qty >= rules[MIN_QTY] and qty * bars.closes[index] >= rules[MIN_NOTIONAL]:
        state[PENDING_SIDE], state[PENDING_QTY], state[DECIDED_AT] = side, qty, index


def quantity(bars: Bars, rules: Row, size_factor: float, state: Row, index: int) -> int:
    """Return the quantity at the close, floored to the step; at most what leaves a reserve."""
    close, equity = bars.closes[index], state[EQUITY]
    most = floor_ratio(equity, rules[MOST], close * rules[MOST_D])
    if rules[SIZE_KIND] == OF_EQUITY:
        return min(most, floor_ratio(equity, rules[SIZE], close * rules[SIZE_D]))
    if rules[SIZE_KIND] == OF_CLOSE:
        return min(most, rules[SIZE] // (close * rules[SIZE_D]))
    if rules[SIZE_KIND] == FIXED:
        return min(most, rules[SIZE])
    # A quotient of floats: certain unless it is close to a whole number.
    desired = equity * size_factor / bars.stop_values[index]
    if desired > most + 1:
        return most
    whole = int(desired + 0.5)
    if abs(desired - whole) <= 1e-14 * desired:
        state[STATUS] = UNDECIDED
        return 0
    return min(most, int(desired))


# Closing.


def add_fill(state: Row, fills: Row, index: int, qty: int, price: int, reason: int) -> None:
    row = state[FILLS] * FILL_COLUMNS
    fills[row + FILL_BAR], fills[row + FILL_SIDE], fills[row + FILL_REASON] = index, state[SIDE], reason
    fills[row + FILL_QTY], fills[row + FILL_PRICE] = qty, price
    state[FILLS] += 1


def close_part(
    bars: Bars, rules: Row, state: Row, fills: Row, trades: Row, index: int, qty: int, price: int, reason: int
) -> None:
    add_fill(state, fills, index, qty, price, reason)
    state[LEFT] -= qty
    state[GROSS] += state[SIDE] * (price - state[ENTRY_PRICE]) * qty
    state[NOTIONAL] += price * qty
    if state[LEFT] == 0:
        end_trade(bars, rules, state, trades, index)


def end_trade(bars: Bars, rules: Row, state: Row, trades: Row, index: int) -> None:
    pnl = half_even_ratio(state[GROSS], rules[GROSS_FACTOR], state[NOTIONAL], rules[FEE_FACTOR], rules[PNL_D])
    row = state[TRADES] * TRADE_COLUMNS
    trades[row + TRADE_EXIT_BAR], trades[row + TRADE_BARS] = index, state[HELD]
    trades[row + TRADE_NOTIONAL], trades[row + TRADE_PNL] = state[NOTIONAL], pnl
    state[TRADES] += 1
    state[SIDE] = 0
    state[ALLOWED_FROM] = max(index + rules[COOLDOWN], rules[FIRST])
    if state[DAY] != bars.days[index]:  # the first trade that ends on this day: equity is that of its start
        state[DAY], state[DAY_EQUITY], state[DAY_STOPPED] = bars.days[index], state[EQUITY], 0
    equity = state[EQUITY] + pnl
    state[EQUITY] = equity
    lost = state[DAY_EQUITY] - equity
    is_limited = lost > 0 and rules[LOSS_D] > 0
    if is_limited and not is_product_less(lost, rules[LOSS_D], state[DAY_EQUITY], rules[LOSS]):
        state[DAY_STOPPED] = 1
    peak = max(state[PEAK], equity)
    state[PEAK] = peak
    if is_product_less(state[FALL], peak, peak - equity, state[BELOW_PEAK]):
        state[FALL], state[BELOW_PEAK] = peak - equity, peak
    if equity > rules[CAP]:
        state[STATUS] = BEYOND_BOUND
