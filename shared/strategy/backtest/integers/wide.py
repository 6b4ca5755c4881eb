"""Products of two 64-bit integers, and what is made of them: the only numbers beyond 64 bits in a booking.

Python's integers have no limit, so each function is one line here. `compiled.py` gives numba the same functions in
128 bits; a test compares the two. All arguments are at least 0 and below 2⁶³ unless stated otherwise.
"""


def floor_ratio(one: int, other: int, divisor: int) -> int:
    """Return one × other ÷ divisor, floored; the result is below 2⁶³, the divisor above 0."""
    return one * other // divisor


def is_product_less(one: int, other: int, third: int, fourth: int) -> bool:
    """Return whether one × other < third × fourth."""
    return one * other < third * fourth


def half_even_ratio(gain: int, factor: int, cost: int, cost_factor: int, divisor: int) -> int:
    """Return (gain × factor − cost × cost_factor) ÷ divisor, half-even; `gain` and the result have either sign."""
    numerator = gain * factor - cost * cost_factor
    quotient, rest = divmod(abs(numerator), divisor)
    if rest > divisor - rest or (rest == divisor - rest and quotient % 2 == 1):
        quotient += 1
    return -quotient if numerator < 0 else quotient
