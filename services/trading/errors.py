"""What can go wrong in trading, beside what can go wrong everywhere.

ProblemError
├── LiveTradingOff      403  no real orders on this platform
├── SessionEnded        409  a stopped session stays stopped
├── StrategyInactive    409  it was deactivated
└── StrategyInUse       409
"""

from shared.chassis.errors import Conflict, Forbidden


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
