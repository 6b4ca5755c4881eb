"""A pytest plugin that reports how many requests were tried against how many operations, summed over all
workers."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

PROPERTY = "hostile-requests"

_totals: dict[str, Counter[str]] = {}


def record(record_property: Callable[[str, object], None], kind: str, counts: Counter[str]) -> None:
    """Record the number of requests by operation."""
    record_property(PROPERTY, json.dumps({kind: counts}))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for name, value in report.user_properties:
            if name == PROPERTY:
                for kind, counts in json.loads(str(value)).items():
                    _totals.setdefault(kind, Counter()).update(counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _totals:
        return
    terminalreporter.section("hostile requests")
    for kind, counts in sorted(_totals.items()):
        fewest, least = min(counts.items(), key=lambda item: item[1])
        terminalreporter.write_line(
            f"{kind}: {len(counts)} operations, {counts.total()} requests, the fewest {least} for {fewest}"
        )
