"""A strategy and its terms as integers for the kernel, with the proof that nothing overflows.

Money is counted in 10⁻⁸, prices in ticks, quantities in steps; every factor is a ratio of two integers. Each value
of a booking is bounded by the largest price of the candles and by the equity. So the bound is an equity, `CAP`: the
largest power of two up to which no product that the kernel keeps in 64 bits leaves them, and no quotient of a
128-bit product either. The kernel stops when equity passes it. Where even the initial balance is beyond it, there
is no plan.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import NamedTuple

from shared.strategy.backtest.integers import kernel
from shared.strategy.bars import Terms
from shared.strategy.document.parse import Strategy
from shared.strategy.document.risk import Distance, Risk
from shared.strategy.execution.sizing import RESERVE
from shared.strategy.ticks import Ticks

MONEY = 10**8  # units of equity and pnl in 1
_MAX = 2**63 - 1
_MAX_EQUITY_BITS = 61
_MAX_FLOAT_QUANTITY = 10**14  # up to it, a quotient of floats is off by far less than the kernel's margin
_HUNDRED = 100


class BeyondBound(Exception):
    """A value does not fit; the decimals book this run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The kernel's rules. `size_factor` is used for quantities by an indicator's distance only."""

    rules: list[int]
    size_factor: float


class _Extent(NamedTuple):
    """The extremes of a run, in ticks. `farthest`: the largest distance code."""

    highest: int
    lowest_close: int
    highest_close: int
    farthest: int


def make_plan(strategy: Strategy, terms: Terms, ticks: Ticks, first: int | None, farthest: int) -> Plan:
    """Return the plan of a run; `farthest` is the largest distance code (`distances.py`). Raises BeyondBound."""
    extent = _Extent(ticks.highest, ticks.lowest_close, ticks.highest_close, farthest)
    common = _plan_on_any_bars(strategy.risk, strategy.side, terms, extent)
    rules = list(common.rules)
    rules[kernel.BARS] = len(ticks.closes)
    rules[kernel.FIRST] = len(ticks.closes) if first is None else first
    return Plan(rules, common.size_factor)


@lru_cache(maxsize=64)
def _plan_on_any_bars(risk: Risk, side: str, terms: Terms, extent: _Extent) -> Plan:
    """Cached because the settings of a sweep often share it."""
    return _Planner(risk, side, terms, extent).plan()


def ratio(value: Fraction) -> tuple[int, int]:
    """Return numerator and denominator. Raises BeyondBound if one does not fit in 63 bits."""
    if abs(value.numerator) > _MAX or value.denominator > _MAX:
        raise BeyondBound
    return value.numerator, value.denominator


def indicator_distances(risk: Risk) -> list[Distance]:
    """Return the distances of the stop and of the targets, in this order, that come from an indicator."""
    distances = [risk.stop_loss, *(level.distance for level in risk.take_profits or ())]
    return [each for each in distances if each is not None and each.column is not None]


def digits(value: Decimal) -> tuple[int, int]:
    """Return integers n and k, as small as possible, with n ÷ 10ᵏ = value."""
    places = 0
    numerator, denominator = value.as_integer_ratio()
    while 10**places % denominator:
        places += 1
    return numerator * (10**places // denominator), places


class _Planner:
    def __init__(self, risk: Risk, side: str, terms: Terms, extent: _Extent) -> None:
        instrument = terms.instrument
        self._risk, self._side, self._terms, self._extent = risk, side, terms, extent
        self._tick, self._step = Fraction(instrument.tick_size), Fraction(instrument.qty_step)
        self._unit = self._tick * self._step  # the value of one step at a price of one tick
        self._rules = [0] * kernel.RULES
        self._size_factor = 0.0

    def plan(self) -> Plan:
        rules = self._rules
        rules[kernel.INITIAL] = self._initial_balance()
        self._market_prices()
        self._exits()
        self._targets()
        self._booking()
        self._sizes()
        self._limits()
        rules[kernel.CAP] = self._bound()
        return Plan(rules, self._size_factor)

    def _initial_balance(self) -> int:
        balance = Fraction(self._terms.initial_balance) * MONEY
        if balance.denominator != 1:
            raise BeyondBound
        return balance.numerator

    def _set(self, index: int, value: Fraction) -> None:
        """Set a ratio, whose denominator follows its numerator."""
        self._rules[index], self._rules[index + 1] = ratio(value)

    def _set_factors(self, above: int, below: int, denominator: int, fraction: Decimal) -> None:
        """Set 1 + fraction and 1 − fraction, over one denominator."""
        part, whole = ratio(Fraction(fraction))
        if whole + part > _MAX:
            raise BeyondBound
        self._rules[above], self._rules[below], self._rules[denominator] = whole + part, whole - part, whole

    def _market_prices(self) -> None:
        slippage = Fraction(self._terms.slippage)
        self._set(kernel.BUY, 1 + slippage)
        self._set(kernel.SELL, 1 - slippage)

    def _exits(self) -> None:
        risk, rules = self._risk, self._rules
        if (stop := risk.stop_loss) is not None:
            rules[kernel.STOP_KIND] = _kind(stop)
            if stop.column is None:
                self._set_factors(kernel.STOP_ABOVE, kernel.STOP_BELOW, kernel.STOP_D, stop.fraction)
        if (trailing := risk.trailing_stop) is not None:
            self._set_factors(kernel.TRAIL_ABOVE, kernel.TRAIL_BELOW, kernel.TRAIL_D, trailing.fraction)
            activation = trailing.activation_fraction
            self._set_factors(kernel.ACTIVE_ABOVE, kernel.ACTIVE_BELOW, kernel.ACTIVE_D, activation)

    def _targets(self) -> None:
        risk, rules = self._risk, self._rules
        levels = risk.take_profits or ()
        rules[kernel.DISTANCES] = len(indicator_distances(risk))
        rules[kernel.LEVELS] = len(levels)
        rules[kernel.REST_LEVEL] = -1 if risk.rest_index is None else risk.rest_index
        for index, level in enumerate(levels):
            at = kernel.TARGETS + index * kernel.TARGET_RULES
            above, below, denominator = kernel.TARGET_ABOVE, kernel.TARGET_BELOW, kernel.TARGET_D
            rules[kernel.TARGET_KIND] = _kind(level.distance)
            if level.distance.column is None:
                self._set_factors(at + above, at + below, at + denominator, level.distance.fraction)
            self._set(at + kernel.PART, Fraction(level.close_fraction))

    def _booking(self) -> None:
        """pnl = gross × GROSS_FACTOR − notional × FEE_FACTOR, over one divisor."""
        gain, fee = self._unit * MONEY, self._unit * MONEY * Fraction(self._terms.fee)
        divisor = lcm(gain.denominator, fee.denominator)
        factors = (gain * divisor).numerator, (fee * divisor).numerator, divisor
        if max(factors) > _MAX:
            raise BeyondBound
        rules = self._rules
        rules[kernel.GROSS_FACTOR], rules[kernel.FEE_FACTOR], rules[kernel.PNL_D] = factors

    def _sizes(self) -> None:
        risk, rules = self._risk, self._rules
        reserve = Fraction(RESERVE) + 2 * Fraction(self._terms.fee) * Fraction(risk.leverage)
        money = 1 / (self._unit * MONEY)  # steps at a price of one tick, for 10⁻⁸
        self._set(kernel.MOST, Fraction(risk.leverage) / reserve * money)
        size, fraction = Fraction(risk.size), Fraction(risk.size_fraction)
        match risk.size_type:
            case "percent_of_equity":
                rules[kernel.SIZE_KIND] = kernel.OF_EQUITY
                self._set(kernel.SIZE, fraction * Fraction(risk.leverage) * money)
            case "fixed_quote":
                rules[kernel.SIZE_KIND] = kernel.OF_CLOSE
                self._set(kernel.SIZE, size / self._unit)
            case "fixed_base":
                rules[kernel.SIZE_KIND] = kernel.FIXED
                self._set(kernel.SIZE, Fraction(size // self._step))
            case _:
                assert risk.stop_loss is not None, "required by the size"
                stop = risk.stop_loss
                if stop.column is None:
                    rules[kernel.SIZE_KIND] = kernel.OF_EQUITY
                    self._set(kernel.SIZE, fraction / Fraction(stop.fraction) * money)
                else:
                    rules[kernel.SIZE_KIND] = kernel.OF_DISTANCE
                    self._size_factor = float(fraction / (Fraction(stop.value) * self._step * MONEY))

    def _limits(self) -> None:
        risk, rules, instrument = self._risk, self._rules, self._terms.instrument
        rules[kernel.MIN_QTY] = -(-Fraction(instrument.min_order_qty) // self._step)
        rules[kernel.MIN_NOTIONAL] = -(-Fraction(instrument.min_notional) // self._unit)
        if max(rules[kernel.MIN_QTY], rules[kernel.MIN_NOTIONAL]) > _MAX:
            raise BeyondBound
        rules[kernel.MAX_BARS] = risk.max_bars or 0
        rules[kernel.COOLDOWN] = risk.cooldown_bars
        rules[kernel.REVERSES] = int(self._side == "BOTH" and risk.cooldown_bars == 0)
        if risk.max_daily_loss_percentage is not None:
            self._set(kernel.LOSS, Fraction(risk.max_daily_loss_percentage) / _HUNDRED)

    # The bound.

    def _bound(self) -> int:
        """Return the largest equity, a power of two, at which everything fits. Raises BeyondBound."""
        fill = self._highest_fill()
        if any(value > _MAX for value in self._price_products(fill)):
            raise BeyondBound
        for bits in range(_MAX_EQUITY_BITS, 0, -1):
            cap = 1 << bits
            if cap < self._rules[kernel.INITIAL]:
                break
            if all(value <= limit for value, limit in self._equity_products(cap, fill)):
                return cap
        raise BeyondBound

    def _highest_fill(self) -> int:
        """No fill is above the highest price with slippage: levels are reached by prices before they fill."""
        rules = self._rules
        return kernel.nearest(self._extent.highest, rules[kernel.BUY], rules[kernel.BUY_D])

    def _price_products(self, fill: int) -> Iterator[int]:
        """Yield a bound of each product of prices, and of the levels that follow from them."""
        rules = self._rules
        pairs = [
            (rules[at], rules[denominator])
            for at, denominator in (
                (kernel.BUY, kernel.BUY_D),
                (kernel.STOP_ABOVE, kernel.STOP_D),
                (kernel.TRAIL_ABOVE, kernel.TRAIL_D),
                *((at + kernel.TARGET_ABOVE, at + kernel.TARGET_D) for at in _target_rules(rules)),
            )
        ]
        for numerator, denominator in pairs:
            yield 2 * fill * numerator + 2 * denominator
        yield fill * rules[kernel.ACTIVE_ABOVE]
        yield fill + self._extent.farthest
        yield self._extent.highest_close * max(rules[kernel.MOST_D], rules[kernel.SIZE_D])
        yield fill * digits(self._terms.instrument.tick_size)[0]  # written into the fingerprint

    def _equity_products(self, cap: int, fill: int) -> Iterator[tuple[int, int]]:
        """Yield what depends on equity, each with its limit."""
        rules = self._rules
        lowest = self._extent.lowest_close
        most = cap * rules[kernel.MOST] // (lowest * rules[kernel.MOST_D])
        yield most, _MAX
        if rules[kernel.SIZE_KIND] == kernel.OF_EQUITY:
            yield cap * rules[kernel.SIZE] // (lowest * rules[kernel.SIZE_D]), _MAX
        if rules[kernel.SIZE_KIND] == kernel.OF_DISTANCE:
            yield most, _MAX_FLOAT_QUANTITY
        yield most * digits(self._terms.instrument.qty_step)[0], _MAX
        notional = 2 * most * fill  # of all fills of a trade; gross and the notional of an order are less
        yield notional, 2**62
        gross, fees = most * fill * rules[kernel.GROSS_FACTOR], notional * rules[kernel.FEE_FACTOR]
        yield cap + (gross + fees) // rules[kernel.PNL_D] + 1, 2**62


def _kind(distance: Distance) -> int:
    return kernel.PERCENT if distance.column is None else kernel.INDICATOR


def _target_rules(rules: list[int]) -> list[int]:
    return [kernel.TARGETS + index * kernel.TARGET_RULES for index in range(rules[kernel.LEVELS])]
