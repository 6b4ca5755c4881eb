"""The quantity of an entry, fixed at the close of the decision bar."""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from shared.strategy.bars import Terms
from shared.strategy.decimals import HUNDRED, INEXACT, ONE, ZERO, exact, floor_quotient
from shared.strategy.document.risk import Distance, Risk
from shared.strategy.series import Series

RESERVE = Decimal("1.01")


class Distances(NamedTuple):
    """Price distances computed from indicators at the decision bar; None and () if they are percentages."""

    stop: Decimal | None
    targets: tuple[Decimal, ...]


PERCENTAGES = Distances(None, ())


def distances_at(risk: Risk, series: Series, index: int) -> Distances | None:
    """Return the distances that depend on indicators; None if such a value is undefined or not above 0."""
    if not risk.uses_indicators:
        return PERCENTAGES
    stop: Decimal | None = None
    targets: list[Decimal] = []
    if risk.stop_loss is not None and risk.stop_loss.column is not None:
        stop = _distance(risk.stop_loss, series, index)
        if stop is None:
            return None
    for level in risk.take_profits or ():
        if level.distance.column is not None:
            distance = _distance(level.distance, series, index)
            if distance is None:
                return None
            targets.append(distance)
    return Distances(stop, tuple(targets))


class Sizing:
    """Sizes the entries of a strategy on its terms. Use inside `exact()`, with an equity above 0."""

    def __init__(self, risk: Risk, terms: Terms) -> None:
        self._risk = risk
        self._instrument = terms.instrument
        with exact():
            self._reserve = RESERVE + 2 * terms.fee * risk.leverage
            self._share = risk.size_fraction * risk.leverage
            self._fits = risk.size_fraction * self._reserve <= ONE

    def quantity(self, equity: Decimal, close: Decimal, stop_distance: Decimal | None) -> Decimal | None:
        """Return the quantity, floored to the step; None if the stop distance of risk_percent is not above 0."""
        risk, step = self._risk, self._instrument.qty_step
        match risk.size_type:
            case "percent_of_equity" if self._fits:
                return floor_quotient(equity * self._share, close, step)
            case "percent_of_equity":
                return self._max_quantity(equity, close)
            case "fixed_quote":
                desired = floor_quotient(risk.size, close, step)
            case "fixed_base":
                desired = floor_quotient(risk.size, ONE, step)
            case _:
                distance = stop_distance
                if distance is None and risk.stop_loss is not None:
                    distance = close * risk.stop_loss.fraction
                if distance is None or distance <= ZERO:
                    return None
                desired = floor_quotient(equity * risk.size_fraction, distance, step)
        return min(desired, self._max_quantity(equity, close))

    def _max_quantity(self, equity: Decimal, close: Decimal) -> Decimal:
        """Return the largest quantity that leaves a reserve for fees and for a price move until the next open."""
        return floor_quotient(equity * self._risk.leverage, close * self._reserve, self._instrument.qty_step)

    def is_large_enough(self, qty: Decimal, close: Decimal) -> bool:
        instrument = self._instrument
        return qty > ZERO and qty >= instrument.min_order_qty and qty * close >= instrument.min_notional


def _distance(distance: Distance, series: Series, index: int) -> Decimal | None:
    assert distance.column is not None
    value = distance.column.values(series)[index].item()
    if not (value > 0 and np.isfinite(value)):
        return None
    return distance.value * Decimal(repr(value))


def percent_of_price(price: Decimal, distance: Decimal) -> Decimal:
    """Return a distance as a percentage of the price, not exact: for comparison with limits."""
    return INEXACT.divide(INEXACT.multiply(distance, HUNDRED), price)
