"""The 128-bit forms that numba compiles give what Python's integers give."""

import random
from collections.abc import Callable, Iterator
from functools import cache

import numba
import pytest

from shared.strategy.backtest.integers import compiled, wide

MANY = 20_000
LARGEST = 2**63 - 1


@cache
def compiled_form(name: str, arguments: int) -> Callable[..., int]:
    compiled.load()
    function = getattr(wide, name)
    forms = {3: lambda a, b, c: function(a, b, c), 4: lambda a, b, c, d: function(a, b, c, d)}
    forms[5] = lambda a, b, c, d, e: function(a, b, c, d, e)
    jitted: Callable[..., int] = numba.njit(forms[arguments])
    return jitted


def any_size(rng: random.Random) -> int:
    """Numbers of all lengths, and those next to powers of two."""
    number = rng.getrandbits(rng.randrange(1, 64))
    if rng.random() < 0.3:
        number = 2 ** rng.randrange(1, 64) + rng.randrange(-2, 2)
    return min(max(number, 0), LARGEST)


def ratios(rng: random.Random) -> Iterator[tuple[int, int, int]]:
    while True:
        one, other, divisor = any_size(rng), any_size(rng), max(1, any_size(rng))
        if one * other // divisor <= LARGEST:
            yield one, other, divisor


def test_floor_ratio() -> None:
    drawn, form = ratios(random.Random(1)), compiled_form("floor_ratio", 3)
    for one, other, divisor in (next(drawn) for _ in range(MANY)):
        assert form(one, other, divisor) == one * other // divisor


def test_is_product_less() -> None:
    rng, form = random.Random(2), compiled_form("is_product_less", 4)
    for _ in range(MANY):
        a, b, c, d = (any_size(rng) for _ in range(4))
        assert form(a, b, c, d) == (a * b < c * d)
        assert not form(a, b, b, a)


def test_half_even_ratio() -> None:
    rng, form = random.Random(3), compiled_form("half_even_ratio", 5)
    checked = 0
    while checked < MANY:
        gain, cost, divisor = rng.choice((1, -1)) * any_size(rng) // 2, any_size(rng) // 2, max(1, any_size(rng))
        factor, cost_factor = any_size(rng), any_size(rng)
        if abs(gain * factor - cost * cost_factor) // divisor < LARGEST:
            checked += 1
            expected = wide.half_even_ratio(gain, factor, cost, cost_factor, divisor)
            assert form(gain, factor, cost, cost_factor, divisor) == expected


@pytest.mark.parametrize(
    ("gain", "expected"), [(5, 2), (-5, -2), (7, 4), (-7, -4), (1, 0), (-1, 0), (3, 2), (6, 3)]
)
def test_half_way_goes_to_the_even_neighbour(gain: int, expected: int) -> None:
    assert wide.half_even_ratio(gain, 1, 0, 1, 2) == expected
    assert compiled_form("half_even_ratio", 5)(gain, 1, 0, 1, 2) == expected
