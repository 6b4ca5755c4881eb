"""What can go wrong in trading, beside what can go wrong everywhere.

ProblemError
├── LiveTradingOff      403  no real orders on this platform
├── SessionEnded        409  a stopped session stays stopped
└── StrategyInUse       409
"""

from shared.chassis.errors import Conflict, Forbidden


class LiveTradingOff(Forbidden):
    """A session was asked for in mode LIVE."""

    type = "live-trading-off"
    title = "Trading with real orders is not available on this platform"


class SessionEnded(Conflict):
    """A stopped session stays stopped: start another one."""

    type = "session-ended"
    title = "The session is stopped"


class StrategyInUse(Conflict):
    """Stop the sessions that run it before giving it up."""

    type = "strategy-in-use"
    title = "A running session uses this strategy"
