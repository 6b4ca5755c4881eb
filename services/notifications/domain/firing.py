"""When an alert fires."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from shared.contracts.types import decimal_text
from shared.strategy.conditions import evaluate
from shared.strategy.document import AlertCondition
from shared.strategy.nodes import Comparison, Reference
from shared.strategy.series import Series


@dataclass(frozen=True)
class ClosedBar:
    """A bar of a series, by its index there. `said_at` is wall time, the others are the exchange's."""

    index: int
    open_time: datetime
    closed_at: datetime
    close: Decimal
    said_at: datetime | None


@dataclass(frozen=True)
class Timing:
    """When an alert may fire. `watched_from` is wall time, the others are the exchange's."""

    watched_from: datetime
    expires_at: datetime | None
    cooldown: timedelta
    last_triggered: datetime | None

    def allows(self, bar: ClosedBar) -> bool:
        """Whether the bar was said after the alert began to watch, and is neither too late nor too soon."""
        if bar.said_at is not None and bar.said_at <= self.watched_from:
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


def became_true(alert: AlertCondition, series: Series, index: int) -> bool:
    """True at this bar and not at the one before: an alert that stays true says so once."""
    if evaluate(alert.condition, series, index) is not True:
        return False
    return index == 0 or evaluate(alert.condition, series, index - 1) is not True


def firings(alert: AlertCondition, timing: Timing, series: Series, bars: Sequence[ClosedBar]) -> list[Firing]:
    """Those of these bars, which ascend, at which the alert fires."""
    return list(_firings(alert, timing, series, bars))


def _firings(alert: AlertCondition, timing: Timing, series: Series, bars: Sequence[ClosedBar]) -> Iterator[Firing]:
    for bar in bars:
        if became_true(alert, series, bar.index) and timing.allows(bar):
            yield Firing(bar, value_seen(alert, series, bar.index))
            timing = Timing(timing.watched_from, timing.expires_at, timing.cooldown, bar.closed_at)


def value_seen(alert: AlertCondition, series: Series, index: int) -> str | None:
    """The left operand, where the condition is one comparison."""
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
