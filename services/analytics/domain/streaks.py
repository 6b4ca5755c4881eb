"""Streaks of winning and losing trades."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Streaks:
    """`current` is the streak that includes the last trade: winning if above 0, losing if below."""

    longest_winning: int = 0
    longest_losing: int = 0
    current: int = 0


def find_streaks(pnls: Iterable[Decimal]) -> Streaks:
    """Find streaks of trades in order of exit. A trade with a pnl of 0 ends a streak and starts none."""
    won = lost = longest_won = longest_lost = 0
    for pnl in pnls:
        won = won + 1 if pnl > 0 else 0
        lost = lost + 1 if pnl < 0 else 0
        longest_won, longest_lost = max(won, longest_won), max(lost, longest_lost)
    return Streaks(longest_won, longest_lost, won - lost)
