"""Which tests run in which of the run's three processes: two cores are busy with two, and wait with some tests."""

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# What mostly waits, for time-outs and for platforms to start: in one process, from the beginning.
WAITING = ("tests/faults/", "tests/integration/faults_command/", "tests/integration/stack/")
# Busy for minutes: begun early, so that no process goes on with it alone in the end.
LONG = ("tests/hostile/test_documents.py", "tests/e2e/")


def turn(nodeid: str) -> int:
    """By what the tests are put into order."""
    return 0 if nodeid.startswith(WAITING) else 1 if nodeid.startswith(LONG) else 2


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A file is of one process, so that what it shares is made once; and all files that wait are."""

    def _split_scope(self, nodeid: str) -> str:
        return "waiting" if nodeid.startswith(WAITING) else str(super()._split_scope(nodeid))
