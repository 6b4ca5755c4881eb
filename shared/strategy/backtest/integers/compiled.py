"""The kernel, compiled by numba. Importing this module loads numba, which takes longer than a short backtest.

The compiled code is kept beside this file (`__pycache__`), by a hash of the sources, and for any processor of the
architecture, so that what an installation compiled is used from a folder that cannot be written.
"""

import ctypes
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from inspect import getmembers, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types as numba_types
from numba.core.extending import intrinsic, overload, register_jitable

from shared.strategy import tolerance
from shared.strategy.backtest.integers import kernel, lines, wide
from shared.strategy.ticks import Integers

Bytes = npt.NDArray[np.uint8]
types: Any = numba_types  # its attributes are set at run time
_U64 = np.uint64
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_TOP = np.uint64(1 << 63)
_NONE = np.uint64(0)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The compiled functions. Arrays are passed by their addresses: numba would count references in every call."""

    _book: Callable[..., None]
    _write_lines: Callable[..., int]
    _write_orders: Callable[..., None]

    def book(
        self,
        bars: Any,
        rules: Integers,
        size_factor: float,
        state: Integers,
        fills: Integers,
        trades: Integers,
    ) -> None:
        """`bars` is a `kernel.Bars` of arrays."""
        columns = [column.ctypes.data for column in bars]
        self._book(*columns, rules.ctypes.data, size_factor, *(each.ctypes.data for each in (state, fills, trades)))

    def write_lines(
        self,
        fills: Integers,
        count: int,
        times: Integers,
        scales: Integers,
        text: Bytes,
        starts: Integers,
        out: Bytes,
    ) -> int:
        arrays = (times, scales, text, starts, out)
        return self._write_lines(fills.ctypes.data, count, *(each.ctypes.data for each in arrays))

    def orders(self, left: tolerance.Values, right: tolerance.Values) -> tolerance.Orders:
        found = np.empty(len(left), dtype=np.uint8)
        steps = [each.strides[0] // each.itemsize for each in (left, right)]
        self._write_orders(left.ctypes.data, steps[0], right.ctypes.data, steps[1], len(left), found.ctypes.data)
        return found


@cache
def load() -> Compiled:
    """Load the compiled functions; compile them if the cache has none for these sources."""
    _extend()
    with _settings():
        try:
            found = _compile(cached=True)
        except OSError:  # nothing cached, and a folder that cannot be written
            found = _compile(cached=False)
    tolerance.use_compiled(found.orders)
    return found


def _compile(cached: bool) -> Compiled:
    words, flags, floats = (types.CPointer(each) for each in (types.int64, types.uint8, types.float64))
    bars = [words] * 5 + [flags] * 4 + [words, floats]
    book = types.void(*bars, words, types.float64, words, words, words)
    write = types.int64(words, types.int64, words, words, flags, words, flags)
    orders = types.void(floats, types.int64, floats, types.int64, types.int64, flags)
    options = {"cache": cached, "error_model": "numpy"}  # no division by 0: denominators are above it
    addresses = [
        numba.cfunc(signature, **options)(function).address
        for signature, function in ((book, _book_bars), (write, lines.write_lines), (orders, _write_orders))
    ]
    pointer, word = ctypes.c_void_p, ctypes.c_int64
    return Compiled(
        ctypes.CFUNCTYPE(None, *[pointer] * 12, ctypes.c_double, *[pointer] * 3)(addresses[0]),
        ctypes.CFUNCTYPE(word, pointer, word, *[pointer] * 5)(addresses[1]),
        ctypes.CFUNCTYPE(None, pointer, word, pointer, word, word, pointer)(addresses[2]),
    )


def _book_bars(
    opens: Any,
    highs: Any,
    lows: Any,
    closes: Any,
    days: Any,
    long_entry: Any,
    short_entry: Any,
    long_exit: Any,
    short_exit: Any,
    distances: Any,
    stop_values: Any,
    rules: Any,
    size_factor: Any,
    state: Any,
    fills: Any,
    trades: Any,
) -> None:
    bars = kernel.Bars(
        opens, highs, lows, closes, days, long_entry, short_entry, long_exit, short_exit, distances, stop_values
    )
    kernel.book(bars, rules, size_factor, state, fills, trades)


def _write_orders(left: Any, left_step: Any, right: Any, right_step: Any, count: Any, out: Any) -> None:
    for index in range(count):
        out[index] = tolerance.order(left[index * left_step], right[index * right_step])


@contextmanager
def _settings() -> Iterator[None]:
    """Cache beside the sources, for any processor, while the functions are compiled or loaded."""
    config = numba.config
    before = config.CACHE_LOCATOR_CLASSES, config.CPU_NAME, config.CPU_FEATURES
    config.CACHE_LOCATOR_CLASSES = f"{__name__}.{BesideTheSources.__name__}"
    config.CPU_NAME, config.CPU_FEATURES = "generic", ""
    try:
        yield
    finally:
        config.CACHE_LOCATOR_CLASSES, config.CPU_NAME, config.CPU_FEATURES = before


class BesideTheSources:
    """Where numba keeps compiled functions. Unlike its own places it need not be writable to be read."""

    def __init__(self, line: int) -> None:
        self._line = line

    @classmethod
    def from_function(cls, function: Callable[..., object], _file: str) -> "BesideTheSources":
        return cls(function.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return str(Path(__file__).parent / "__pycache__")

    def ensure_cache_path(self) -> None:
        Path(self.get_cache_path()).mkdir(exist_ok=True)

    def get_disambiguator(self) -> str:
        return str(self._line)

    def get_source_stamp(self) -> str:
        """Hash all that is compiled: functions of several modules, and constants that come from others."""
        sources = [module.__file__ for module in (kernel, lines, wide, tolerance)]
        texts = [Path(each).read_bytes() for each in (*sources, __file__) if each is not None]
        constants = repr(getmembers(kernel, lambda each: isinstance(each, int))).encode()
        return hashlib.sha256(b"".join([*texts, constants])).hexdigest()


@cache
def _extend() -> None:
    """Let compiled functions call those of the kernel, and the 128-bit forms of those in `wide.py`."""
    register_jitable(tolerance.order)
    for module in (kernel, lines):
        for function in _functions(module):
            register_jitable(function)
    overload(wide.floor_ratio, strict=False)(lambda one, other, divisor: floor_ratio)
    overload(wide.is_product_less, strict=False)(lambda one, other, third, fourth: is_product_less)
    overload(wide.half_even_ratio, strict=False)(lambda gain, factor, cost, cost_factor, divisor: half_even_ratio)
    for name in ("divide", "half_even_quotient"):
        register_jitable(globals()[name])


def _functions(module: ModuleType) -> list[Callable[..., Any]]:
    return [each for _, each in getmembers(module, isfunction) if each.__module__ == module.__name__]


# 128 bits as two words. LLVM multiplies so, but its division of 128 bits by 64 ends the process.


def _type_upper_word(_typing_context: Any, _one: Any, _other: Any) -> Any:
    """The upper word of a product of two unsigned words."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide_type = ir.IntType(128)
        product = builder.mul(*(builder.zext(each, wide_type) for each in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide_type, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


high_product: Any = intrinsic(_type_upper_word)


def divide(high: Any, low: Any, divisor: Any) -> Any:
    """Return quotient and rest of two words by one, where high < divisor: Knuth's algorithm D in half words."""
    if high == _NONE:
        quotient = low // divisor
        return quotient, low - quotient * divisor
    shift = _NONE
    while divisor & _TOP == _NONE:
        divisor <<= _ONE
        shift += _ONE
    if shift > _NONE:
        high = (high << shift) | (low >> (_U64(64) - shift))
        low <<= shift
    upper, lower = divisor >> _HALF, divisor & _LOW
    result, rest = _NONE, high
    for half in range(2):
        following = low >> _HALF if half == 0 else low & _LOW
        digit = rest // upper
        left = rest - digit * upper
        while digit > _LOW or digit * lower > ((left << _HALF) | following):
            digit -= _ONE
            left += upper
            if left > _LOW:
                break
        rest = ((rest << _HALF) | following) - digit * divisor
        result = (result << _HALF) | digit
    return result, rest >> shift


def half_even_quotient(high: Any, low: Any, divisor: Any) -> Any:
    quotient, rest = divide(high, low, divisor)
    other = divisor - rest
    if rest > other or (rest == other and quotient & _ONE == _ONE):
        quotient += _ONE
    return quotient


def floor_ratio(one: Any, other: Any, divisor: Any) -> Any:
    first, second = _U64(one), _U64(other)
    quotient, _ = divide(high_product(first, second), first * second, _U64(divisor))
    return np.int64(quotient)


def is_product_less(one: Any, other: Any, third: Any, fourth: Any) -> Any:
    a, b, c, d = _U64(one), _U64(other), _U64(third), _U64(fourth)
    left, right = high_product(a, b), high_product(c, d)
    return left < right or (left == right and a * b < c * d)


def half_even_ratio(gain: Any, factor: Any, cost: Any, cost_factor: Any, divisor: Any) -> Any:
    """Add the magnitudes of a loss and its cost; of a gain and its cost take the difference and its sign."""
    gained, lost = _U64(abs(gain)), _U64(cost)
    by, lost_by, over = _U64(factor), _U64(cost_factor), _U64(divisor)
    high, low = high_product(gained, by), gained * by
    cost_high, cost_low = high_product(lost, lost_by), lost * lost_by
    if gain < 0:
        total = low + cost_low
        carry = _ONE if total < low else _NONE
        return -np.int64(half_even_quotient(high + cost_high + carry, total, over))
    if high > cost_high or (high == cost_high and low >= cost_low):
        borrow = _ONE if low < cost_low else _NONE
        return np.int64(half_even_quotient(high - cost_high - borrow, low - cost_low, over))
    borrow = _ONE if cost_low < low else _NONE
    return -np.int64(half_even_quotient(cost_high - high - borrow, cost_low - low, over))
