"""Assigns tests to the processes of a run: one runs those that mostly wait, one the long ones, one the rest."""

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# Mostly wait for time-outs and for platforms to start: all in one process, first.
WAITING = ("tests/faults/", "tests/integration/faults_command/", "tests/integration/stack/")
# Take minutes of CPU time each: one after the other, beside nothing heavier than the rest.
LONG = ("tests/hostile/test_documents.py", "tests/e2e/")


def turn(nodeid: str) -> int:
    """Return the sort key of a test: waiting tests first, then long ones."""
    return 0 if nodeid.startswith(WAITING) else 1 if nodeid.startswith(LONG) else 2


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Keep each file in one process, so that its shared fixtures are created once; waiting tests share a process,
    and long tests another."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(WAITING):
            return "waiting"
        return "long" if nodeid.startswith(LONG) else str(super()._split_scope(nodeid))
