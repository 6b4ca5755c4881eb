"""Runs the checks of all invariants."""

import asyncio
from pathlib import Path

from faults.checker import i1_missing, i2_twice, i6_tenants, i7_wedged
from faults.checker.database import open_database, run_statements
from faults.checker.evidence import read_evidence
from faults.checker.violation import Violation, limit_details

INVARIANTS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7")


def check(folder: Path, dsn: str) -> list[Violation]:
    """Return the violations, sorted. `dsn` is a superuser's. Must not be called from a running event loop."""
    return asyncio.run(_check(folder, dsn))


async def _check(folder: Path, dsn: str) -> list[Violation]:
    evidence = read_evidence(folder)
    found = [
        *limit_details("I6", i6_tenants.find_in_responses(evidence)),
        *limit_details("I6", i6_tenants.find_in_logs(evidence)),
    ]
    found += limit_details("I7", i7_wedged.find_unsettled(evidence.settled))
    async with open_database(dsn, evidence) as connection:
        for invariant in INVARIANTS:
            async for details in run_statements(connection, invariant):
                found += limit_details(invariant, details)
        found += limit_details("I1", await i1_missing.find_missing(connection, evidence.calls))
        found += limit_details("I2", await i2_twice.find_duplicates(connection, evidence.calls))
        found += limit_details("I6", await i6_tenants.find_in_events(connection, evidence))
    return sorted(found)
