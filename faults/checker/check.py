"""All invariants, one after the other."""

import asyncio
from pathlib import Path

from faults.checker import i1_missing, i2_twice, i6_tenants, i7_wedged
from faults.checker.database import opened, rows_of
from faults.checker.evidence import read_evidence
from faults.checker.violation import Violation, few

INVARIANTS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7")


def check(folder: Path, dsn: str) -> list[Violation]:
    """What did not hold, in order; `dsn` is a superuser's. Not to be called where an event loop runs."""
    return asyncio.run(_check(folder, dsn))


async def _check(folder: Path, dsn: str) -> list[Violation]:
    evidence = read_evidence(folder)
    found = [*few("I6", i6_tenants.in_responses(evidence)), *few("I6", i6_tenants.in_logs(evidence))]
    found += few("I7", i7_wedged.not_settled(evidence.settled))
    async with opened(dsn, evidence) as connection:
        for invariant in INVARIANTS:
            async for details in rows_of(connection, invariant):
                found += few(invariant, details)
        found += few("I1", await i1_missing.not_as_acknowledged(connection, evidence.calls))
        found += few("I2", await i2_twice.made_twice(connection, evidence.calls))
        found += few("I6", await i6_tenants.in_events(connection, evidence))
    return sorted(found)
