"""The problems of the trading service, in addition to those of every service.

ProblemError
├── LiveTradingOff      403  no real orders on this platform
├── SessionEnded        409  a stopped session cannot change
├── StrategyInactive    409  it is deactivated
├── StrategyInUse       409  a running session uses it
├── StrategiesFull      409  including deleted ones
├── VersionsFull        409  of one strategy
├── ConfigurationsFull  409  delete one first
├── PublishedFull       409  unpublish one first
├── BacktestEnded       409
└── TooManyBacktests    429
"""

from typing import ClassVar

from shared.chassis.errors import Conflict, Forbidden, ProblemError


class LiveTradingOff(Forbidden):
    """A session was requested in mode LIVE; use PAPER."""

    type = "live-trading-off"
    title = "Trading with real orders is not available on this platform"


class SessionEnded(Conflict):
    """A stopped session cannot be restarted: start another one. `from_status` and `to_status` name the change."""

    type = "session-ended"
    title = "The session is stopped"


class StrategyInactive(Conflict):
    """A deactivated strategy cannot start sessions or be published: reactivate it first."""

    type = "strategy-inactive"
    title = "The strategy is deactivated"


class StrategyInUse(Conflict):
    """Stop the sessions that run the strategy before you delete it."""

    type = "strategy-in-use"
    title = "A running session uses this strategy"


class StrategiesFull(Conflict):
    """`limit` is the most strategies you can ever create, including deleted ones. Change an existing one."""

    type = "strategies-full"
    title = "You have created the maximum number of strategies"


class VersionsFull(Conflict):
    """`limit` is the most versions a strategy can have. Continue with a new strategy that has another name."""

    type = "versions-full"
    title = "The strategy has the maximum number of versions"


class ConfigurationsFull(Conflict):
    """`limit` is the most configurations you can have. Delete one first."""

    type = "configurations-full"
    title = "You have the maximum number of configurations"


class PublishedFull(Conflict):
    """`limit` is the most strategies you can have published at once. Unpublish one first."""

    type = "published-full"
    title = "You have published the maximum number of strategies"


class BacktestEnded(Conflict):
    """The backtest is DONE or FAILED: there is nothing left to cancel."""

    type = "backtest-ended"
    title = "The backtest has ended"


class TooManyBacktests(ProblemError):
    """You have the maximum number of backtests queued or running: wait until some end, or cancel some."""

    status: ClassVar[int] = 429
    type: ClassVar[str] = "too-many-backtests"
    title: ClassVar[str] = "Too many backtests are queued"
    retry_after_s: ClassVar[int | None] = 30
