"""Decides after a run of faults whether I1 to I7 held: from ledgers kept outside, and plain SQL.

It imports nothing of the platform: what it knows of topics and tables stands here a second time, on purpose.
"""

from faults.checker.check import check
from faults.checker.violation import Violation

__all__ = ["Violation", "check"]
