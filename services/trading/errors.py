"""What can go wrong in trading, each with its HTTP status.

ProblemError
├── PlanLimitReached    403  the plan allows no more; says which limit and how much is used
├── LiveTradingOff      403  no real orders on this platform
├── NameTaken           409
├── SessionEnded        409  a stopped session stays stopped
├── StrategyInUse       409
└── StrategyInvalid     422  every fault with its JSON path
"""

from shared.chassis.errors import Conflict, Forbidden, InvalidInput


class PlanLimitReached(Forbidden):
    type = "plan-limit"
    title = "The plan does not allow that"


class LiveTradingOff(Forbidden):
    type = "live-trading-off"
    title = "Trading with real orders is not available on this platform"


class NameTaken(Conflict):
    type = "name-taken"
    title = "There is one of that name already"


class SessionEnded(Conflict):
    type = "session-ended"
    title = "The session is stopped"


class StrategyInUse(Conflict):
    type = "strategy-in-use"
    title = "A running session uses this strategy"


class StrategyInvalid(InvalidInput):
    type = "invalid-input"
    title = "The strategy document is not valid"
