"""What can go wrong in notifications, beside what can go wrong everywhere.

ProblemError
└── AlertsFull  409  remove one first
"""

from shared.chassis.errors import Conflict


class AlertsFull(Conflict):
    """`limit` says how many there can be. Remove one first."""

    type = "alerts-full"
    title = "You have as many alerts as there can be"
