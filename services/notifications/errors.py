"""What can go wrong in notifications.

ProblemError
├── PlanLimitReached   403  the plan has no such channel
├── NameTaken          409
├── AlertsFull         409  remove one first
└── ConditionInvalid   422  every fault with its JSON path
"""

from shared.chassis.errors import Conflict, Forbidden, InvalidInput


class PlanLimitReached(Forbidden):
    type = "plan-limit"
    title = "The plan does not allow that"


class NameTaken(Conflict):
    type = "name-taken"
    title = "There is an alert of that name already"


class AlertsFull(Conflict):
    type = "alerts-full"
    title = "You have as many alerts as there can be"


class ConditionInvalid(InvalidInput):
    type = "invalid-input"
    title = "The alert's condition is not valid"
