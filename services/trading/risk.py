"""The risk limits of an exchange account, over all its sessions. Pure.

A breach stops the account's entries until a person resumes; exits, stops and targets continue.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from shared.strategy.decimals import HUNDRED, ZERO, exact

RiskLimit = Literal[
    "max_daily_loss", "drawdown_pause_percentage", "max_open_notional", "max_positions", "max_orders_per_minute"
]


@dataclass(frozen=True)
class RiskSettings:
    """None: unlimited. Amounts are in the settle coin."""

    max_daily_loss: Decimal | None = None
    drawdown_pause_percentage: Decimal | None = None
    max_open_notional: Decimal | None = None
    max_positions: int | None = None
    max_orders_per_minute: int | None = None


@dataclass(frozen=True)
class RiskFacts:
    """An account as it is: what its trades that ended on this UTC day and their funding earned, what is open or
    ordered to open, and the orders recorded within the last minute. `equity` None: the wallet was not read yet."""

    daily_pnl: Decimal = ZERO
    open_notional: Decimal = ZERO
    positions: int = 0
    orders: int = 0
    equity: Decimal | None = None
    highest_equity: Decimal | None = None

    def with_entry(self, notional: Decimal) -> "RiskFacts":
        """Return the facts with one more entry ordered."""
        with exact():
            return RiskFacts(
                self.daily_pnl,
                self.open_notional + notional,
                self.positions + 1,
                self.orders + 1,
                self.equity,
                self.highest_equity,
            )

    @property
    def drawdown_percentage(self) -> Decimal:
        if self.equity is None or self.highest_equity is None or self.highest_equity <= ZERO:
            return ZERO
        with exact():
            lost = self.highest_equity - self.equity
        return (lost * HUNDRED / self.highest_equity).quantize(Decimal("1e-8"))


@dataclass(frozen=True)
class Breach:
    """A limit, its value, and the value that exceeds it."""

    limit: RiskLimit
    allowed: Decimal
    value: Decimal


def find_loss_breach(settings: RiskSettings, facts: RiskFacts) -> Breach | None:
    """Return the limit on losses that the account has reached; a limit that is met exactly is reached."""
    losses: tuple[tuple[RiskLimit, Decimal | None, Decimal], ...] = (
        ("max_daily_loss", settings.max_daily_loss, -facts.daily_pnl),
        ("drawdown_pause_percentage", settings.drawdown_pause_percentage, facts.drawdown_percentage),
    )
    for name, limit, value in losses:
        if limit is not None and value >= limit:
            return Breach(name, limit, value)
    return None


def find_breach(settings: RiskSettings, facts: RiskFacts, notional: Decimal) -> Breach | None:
    """Return the first limit that the account has reached, or that an entry of this notional would exceed."""
    if (loss := find_loss_breach(settings, facts)) is not None:
        return loss
    after = facts.with_entry(notional)
    exposures: tuple[tuple[RiskLimit, Decimal | int | None, Decimal | int], ...] = (
        ("max_open_notional", settings.max_open_notional, after.open_notional),
        ("max_positions", settings.max_positions, after.positions),
        ("max_orders_per_minute", settings.max_orders_per_minute, after.orders),
    )
    for name, limit, value in exposures:
        if limit is not None and value > limit:
            return Breach(name, Decimal(limit), Decimal(value))
    return None
