"""Checks after a fault run whether invariants I1 to I7 held, from ledgers kept outside the platform and plain SQL.

It imports nothing of the platform. Its knowledge of topics and tables is a deliberate second copy.
"""

from faults.checker.check import check
from faults.checker.violation import Violation

__all__ = ["Violation", "check"]
