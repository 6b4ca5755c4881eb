"""Assigns tests to the processes of a run: whole folders to one process each, the other files to any."""

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# By folder or file, in the order in which the processes of a run begin with them.
GROUPS = {
    # schemathesis, with five services of its own.
    "tests/hostile/test_documents.py": "documents",
    # Mostly wait for time-outs.
    "tests/faults/": "faults",
    # Start whole platforms.
    "tests/integration/stack/": "platforms",
    "tests/integration/faults_command/": "platforms",
    "tests/e2e/": "e2e",
    # One set of five services for all tests of a process.
    "tests/hostile/": "hostile",
}
ORDER = [*dict.fromkeys(GROUPS.values()), ""]


def group(nodeid: str) -> str:
    """Return the group whose tests share a process with this one, or an empty text."""
    return next((name for start, name in GROUPS.items() if nodeid.startswith(start)), "")


def turn(nodeid: str) -> int:
    """Return the sort key of a test: groups first, because they are the longest."""
    return ORDER.index(group(nodeid))


class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Keep each group, and each other file, in one process, so that its shared fixtures are created once."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid) or str(super()._split_scope(nodeid))
