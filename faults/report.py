"""The report of a fault run: tables for a terminal, one JSON object for programs."""

from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from faults.injector import Tally
from faults.settle import SettledState


@dataclass
class FaultReport:
    seed: int
    families: list[str]
    rounds: int
    strikes: int  # in a round
    points: list[str]  # crash points of the families
    hits: Counter[str]
    tally: Tally
    calls: Counter[str]
    messages: int
    orders: int  # on the exchange
    executions: int
    settled: SettledState
    violations: list[tuple[str, str]]  # invariant and detail
    seconds: float

    @property
    def ok(self) -> bool:
        return not self.violations

    def as_object(self) -> dict[str, object]:
        tally = self.tally
        return {
            "seed": self.seed,
            "families": self.families,
            "rounds": self.rounds,
            "strikes_a_round": self.strikes,
            "kills": tally.kills,
            "freezes": tally.freezes_at.total(),
            "kills_at_rest": tally.kills_at_rest,
            "points": {
                point: {
                    "hits": self.hits[point],
                    "kills": tally.kills_at[point],
                    "freezes": tally.freezes_at[point],
                    "missed": tally.missed[point],
                }
                for point in self._all_points()
            },
            "faults": dict(tally.injected),
            "outages_s": tally.outages_s,
            "calls": {outcome: self.calls[outcome] for outcome in ("ok", "failed", "unknown")},
            "messages": self.messages,
            "orders": self.orders,
            "executions": self.executions,
            "ready_s": self.settled.ready_s,
            "settled_s": self.settled.seconds,
            "seconds": self.seconds,
            "violations": [{"invariant": name, "detail": detail} for name, detail in self.violations],
            "ok": self.ok,
        }

    def show(self, console: Console) -> None:
        console.print(self._points_table())
        console.print(self._faults_table())
        tally, calls = self.tally, self.calls
        console.print(
            f"{tally.kills} kills with something in flight, {tally.kills_at_rest} at rest, "
            f"{tally.freezes_at.total()} freezes at a point"
        )
        console.print(f"calls: {calls['ok']} ok, {calls['failed']} failed, {calls['unknown']} unknown")
        console.print(
            f"ready {self.settled.ready_s} s after healing, settled after {self.settled.seconds} s; "
            f"{self.messages} messages on the topics; "
            f"{self.orders} orders and {self.executions} executions on the exchange"
        )
        for name, detail in self.violations:
            console.print(f"[red]{name}[/] {detail}", highlight=False)
        verdict = "[green]I1 to I7 hold[/]" if self.ok else f"[red]{len(self.violations)} violations[/]"
        console.print(f"seed {self.seed}: {verdict} after {self.seconds:.0f} s")
        if not self.ok:
            options = f"--seed {self.seed} --rounds {self.rounds} --strikes {self.strikes}"
            console.print(f"repeat: tradefleet faults {options} --family {','.join(self.families)}")

    def _all_points(self) -> list[str]:
        return sorted({*self.points, *self.hits})

    def _points_table(self) -> Table:
        table = Table("point", "hits", "killed at", "frozen at", "not reached", title="Crash points")
        for point in self._all_points():
            tally = self.tally
            counts = (self.hits[point], tally.kills_at[point], tally.freezes_at[point], tally.missed[point])
            table.add_row(point, *map(str, counts))
        return table

    def _faults_table(self) -> Table:
        table = Table("fault", "times", "longest recovery", title="Faults")
        for name, times in sorted(self.tally.injected.items()):
            outages = self.tally.outages_s.get(name.removeprefix("crash "), [])
            table.add_row(name, str(times), f"{max(outages)} s" if outages else "")
        return table
