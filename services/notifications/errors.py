"""Errors of notifications, in addition to those of the chassis.

ProblemError
└── AlertsFull  409  the tenant must delete an alert first
"""

from shared.chassis.errors import Conflict


class AlertsFull(Conflict):
    """`limit` is the maximum number of alerts. Delete one first."""

    type = "alerts-full"
    title = "You have reached the maximum number of alerts"
