"""Decimal arithmetic. What is booked is exact; quotients have 18 places."""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, localcontext
from functools import wraps
from typing import ParamSpec, TypeVar

_FAULTS = [InvalidOperation, DivisionByZero]
_EXACT = Context(prec=300, traps=[Inexact, *_FAULTS])
_QUOTIENTS = Context(prec=300, rounding=ROUND_HALF_EVEN, traps=_FAULTS)
_PLACES = Decimal(1).scaleb(-18)
ZERO, ONE, TWO = Decimal(0), Decimal(1), Decimal(2)
P = ParamSpec("P")
R = TypeVar("R")


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in the context in which an inexact result raises `decimal.Inexact`."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(_EXACT):
            return function(*args, **kwargs)

    return wrapped


def quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Return numerator ÷ denominator to 18 places, half-even, without trailing zeros."""
    exactly = _QUOTIENTS.divide(numerator, denominator)
    exponent = exactly.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -18:
        return exactly
    return _QUOTIENTS.quantize(exactly, _PLACES).normalize(_QUOTIENTS)


def round_to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """Round to the nearest tick, half-up; at least one tick."""
    if price <= ZERO:
        return tick
    return (2 * price + tick) // (2 * tick) * tick or tick


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    return value // step * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    floor = value // step * step  # `//` rounds towards 0
    return floor + step if floor < value else floor


def is_multiple(value: Decimal, step: Decimal) -> bool:
    return not value % step
