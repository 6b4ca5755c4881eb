"""The report of a fault run shows what happened, and how to repeat a run that failed."""

from collections import Counter
from io import StringIO

from rich.console import Console

from faults.injector import Tally
from faults.report import FaultReport
from faults.settle import SettledState

REPEAT = "repeat: tradefleet faults --seed 7 --rounds 3 --strikes 9 --family D,B"


def shown(*violations: tuple[str, str]) -> str:
    report = FaultReport(
        seed=7,
        families=["D", "B"],
        rounds=3,
        strikes=9,
        points=["orders.after_gate"],
        hits=Counter({"orders.after_gate": 9}),
        tally=Tally(kills_at=Counter({"orders.after_gate": 2})),
        calls=Counter(ok=5),
        messages=4,
        orders=61,
        executions=57,
        settled=SettledState(0.1, 2.5, "", {}, {}),
        violations=list(violations),
        seconds=100.0,
    )
    report.show(console := Console(file=StringIO(), width=200))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_report_counts_what_was_traded() -> None:
    text = shown()
    assert "61 orders and 57 executions on the exchange" in text
    assert "seed 7: I1 to I7 hold after 100 s" in text
    assert REPEAT not in text


def test_a_report_of_violations_names_the_command_that_repeats_the_run() -> None:
    assert REPEAT in shown(("I2", "an intent has two orders"))
