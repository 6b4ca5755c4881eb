"""Decides when an alert may fire."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from shared.contracts.types import decimal_text
from shared.strategy.document.nodes import Comparison, Reference
from shared.strategy.document.parse import AlertCondition
from shared.strategy.series import Series

Repeat = Literal["ALWAYS", "ONCE"]


@dataclass(frozen=True)
class ClosedBar:
    """A bar of a series and its index in it. `published_at` is wall time, the other times are the exchange's."""

    index: int
    open_time: datetime
    closed_at: datetime
    close: Decimal
    published_at: datetime | None


@dataclass(frozen=True)
class Timing:
    """When an alert may fire. `watched_from` is wall time, the other times are the exchange's."""

    watched_from: datetime
    expires_at: datetime | None
    cooldown: timedelta
    last_triggered: datetime | None
    repeat: Repeat = "ALWAYS"

    def allows(self, bar: ClosedBar) -> bool:
        """Return whether the bar was published after `watched_from`, is not past expiry and not in the cooldown."""
        if bar.published_at is not None and bar.published_at <= self.watched_from:
            return False
        if self.has_expired(bar.closed_at):
            return False
        return self.last_triggered is None or (
            bar.closed_at > self.last_triggered and bar.closed_at >= self.last_triggered + self.cooldown
        )

    def has_expired(self, moment: datetime) -> bool:
        return self.expires_at is not None and moment > self.expires_at


@dataclass(frozen=True)
class Firing:
    bar: ClosedBar
    value_seen: str | None


def firing_bars(timing: Timing, rising_bars: Sequence[ClosedBar]) -> list[ClosedBar]:
    """Return the bars at which an alert fires. `rising_bars`: where its condition became true, ascending."""
    return list(_firing_bars(timing, rising_bars))


def _firing_bars(timing: Timing, rising_bars: Sequence[ClosedBar]) -> Iterator[ClosedBar]:
    for bar in rising_bars:
        if timing.allows(bar):
            yield bar
            if timing.repeat == "ONCE":
                return
            timing = replace(timing, last_triggered=bar.closed_at)


def value_seen(alert: AlertCondition, series: Series, index: int) -> str | None:
    """Return the value of the left operand if the condition is a single comparison, else None."""
    root = alert.condition.root
    if not isinstance(root, Comparison) or not isinstance(root.left, Reference):
        return None
    operand, at = root.left, index - root.left.shift
    field = operand.column.field_name
    if field is not None:
        value: Decimal = getattr(series.bar(at), field)
    else:
        value = Decimal(repr(operand.column.values(series)[at].item()))
    plain = operand.mul == 1 and operand.add == 0
    return decimal_text(value if plain else value * operand.mul + operand.add)
