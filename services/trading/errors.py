"""What can go wrong in trading, beside what can go wrong everywhere.

ProblemError
├── LiveTradingOff      403  no real orders on this platform
├── SessionEnded        409  a stopped session stays stopped
├── StrategyInactive    409  it was deactivated
├── StrategyInUse       409
├── StrategiesFull      409  those given up among them
├── VersionsFull        409  of one strategy
├── ConfigurationsFull  409  remove one first
├── PublishedFull       409  take one back first
├── BacktestEnded       409
└── TooManyBacktests    429
"""

from typing import ClassVar

from shared.chassis.errors import Conflict, Forbidden, ProblemError


class LiveTradingOff(Forbidden):
    """A session was asked for in mode LIVE."""

    type = "live-trading-off"
    title = "Trading with real orders is not available on this platform"


class SessionEnded(Conflict):
    """A stopped session stays stopped: start another one. `from_status` and `to_status` say what was asked."""

    type = "session-ended"
    title = "The session is stopped"


class StrategyInactive(Conflict):
    """A deactivated strategy starts no session and is not published: reactivate it first."""

    type = "strategy-inactive"
    title = "The strategy is deactivated"


class StrategyInUse(Conflict):
    """Stop the sessions that run it before giving it up."""

    type = "strategy-in-use"
    title = "A running session uses this strategy"


class StrategiesFull(Conflict):
    """`limit` says how many strategies can be made in all, those given up among them. Change one that is there."""

    type = "strategies-full"
    title = "You have made as many strategies as can be made"


class VersionsFull(Conflict):
    """`limit` says how many versions a strategy can have. Copy it into a new one to go on."""

    type = "versions-full"
    title = "The strategy has as many versions as it can have"


class ConfigurationsFull(Conflict):
    """`limit` says how many there can be. Remove one first."""

    type = "configurations-full"
    title = "You have as many configurations as there can be"


class PublishedFull(Conflict):
    """`limit` says how many strategies you can show to everybody. Take one back first."""

    type = "published-full"
    title = "You have published as many strategies as you can"


class BacktestEnded(Conflict):
    """It is done or has failed: there is nothing left to cancel."""

    type = "backtest-ended"
    title = "The backtest has ended"


class TooManyBacktests(ProblemError):
    """As many of your backtests wait as may wait at once: let some end, or cancel some."""

    status: ClassVar[int] = 429
    type: ClassVar[str] = "too-many-backtests"
    title: ClassVar[str] = "Too many backtests wait"
    retry_after_s: ClassVar[int | None] = 30
