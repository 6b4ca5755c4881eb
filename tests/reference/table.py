"""A pytest plugin: the rules and elements that the random strategies hit, summed over all workers, and those never
hit."""

import json
import os
from collections import Counter
from collections.abc import Callable

import pytest

from shared.testing.random_strategies import OPS, SOURCES, TYPES
from tests.reference.random_candles import RECORDED

FIRST_SEED = int(os.environ.get("REFERENCE_SEED", "20260131"))
STRATEGIES = int(os.environ.get("REFERENCE_STRATEGIES", "520"))
CHUNK = 20
MOST_SET_ASIDE = 0.02
LEAST_TO_JUDGE = 500
PROPERTY = "reference-hits"
EXPECTED = {
    *(f"indicator: {kind}" for kind in TYPES),
    *(f"source: {source}" for source in (*SOURCES, "default")),
    *(f"op: {op}" for op in OPS),
    *(f"side: {side}" for side in ("LONG", "SHORT", "BOTH")),
    *(f"size: {kind}" for kind in ("percent_of_equity", "fixed_quote", "fixed_base", "risk_percent")),
    *(f"leverage: {kind}" for kind in ("1", "more")),
    *(f"stop: {kind}" for kind in ("percent", "atr")),
    *(f"targets: {kind}" for kind in ("percent", "atr", "100 percent", "less than 100 percent")),
    *(f"targets: {count} levels" for count in range(1, 6)),
    *(f"trailing: {kind}" for kind in ("at once", "from an activation")),
    *(f"condition: {kind}" for kind in ("all", "any", "not", "for_bars", "long", "short")),
    *(f"operand: {kind}" for kind in ("name", "name with output", "integer", "decimal", "number as string")),
    *(f"operand: {key}" for key in ("ref", "shift", "mul", "add")),
    *("max_bars", "cooldown_bars", "max_daily_loss_percentage", "deviations"),
    *(f"reason: {reason}" for reason in ("entry", "signal", "time", "stop_loss", "trailing_stop")),
    *(f"reason: {reason}" for reason in ("take_profit", "end_of_data")),
    *(f"rule: refused: {why}" for why in ("cooldown", "daily loss", "no distance", "no equity")),
    "rule: refused: no reversing with a cooldown",
    *(f"rule: too small: {why}" for why in ("quantity", "notional")),
    *("rule: both entries true", "rule: reversal", "rule: reduced to leverage", "rule: target too small"),
    *("rule: stop at the open", "rule: target at the open", "rule: target in the bar"),
    "rule: dropped: no equity",
    *("case: made-up candles", "case: candles that stand still", "case: decides from a given time"),
}

_totals: Counter[str] = Counter()


def record(record_property: Callable[[str, object], None], hits: Counter[str], set_aside: bool) -> None:
    """Pass the hits of a case to the table, also from another process."""
    counted = Counter({"case: compared": 1, "case: set aside": int(set_aside)}) + hits
    record_property(PROPERTY, json.dumps(counted))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for name, value in report.user_properties:
            if name == PROPERTY:
                _totals.update(json.loads(str(value)))


def faults() -> list[str]:
    """A run with fewer strategies than `LEAST_TO_JUDGE` is not judged."""
    compared = _totals["case: compared"]
    if compared < LEAST_TO_JUDGE:
        return []
    found = [f"never hit: {name}" for name in sorted(EXPECTED) if not _totals[name]]
    if RECORDED.is_dir() and not _totals["case: recorded candles"]:
        found.append("never hit: recorded candles")
    if _totals["case: set aside"] > MOST_SET_ASIDE * compared:
        found.append(f"more than {MOST_SET_ASIDE:.0%} of the cases were set aside")
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not hasattr(session.config, "workerinput") and exitstatus == 0 and faults():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    compared = _totals["case: compared"]
    if not compared:
        return
    write = terminalreporter.write_line
    terminalreporter.section("random strategies: engine against reference")
    write(f"REFERENCE_SEED={FIRST_SEED}: {compared} strategies, {_totals['case: traded']} of them traded;")
    write(f"{_totals['case: set aside']} set aside: equal only when given TA-Lib's last bits")
    if not RECORDED.is_dir():
        write(f"NO RECORDED CANDLES at {RECORDED}: made-up ones only", yellow=True, bold=True)
    cells = [f"{name} {count}" for name, count in sorted(_totals.items())]
    width = max(len(cell) for cell in cells) + 2
    columns = max(1, 150 // width)
    for i in range(0, len(cells), columns):
        write("".join(cell.ljust(width) for cell in cells[i : i + columns]).rstrip())
    for fault in faults():
        write(fault, red=True, bold=True)
