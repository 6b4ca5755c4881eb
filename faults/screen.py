"""Shows the progress of a run: a live table on a terminal, and one line per round."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from faults.evidence import Evidence
from faults.injector import Tally
from faults.kinds import InjectedFault
from faults.plan import FaultRound

REFRESH_S = 0.5


@dataclass
class RunProgress:
    """The current round."""

    round: int = 0
    faults: list[InjectedFault] = field(default_factory=list)

    def begin(self, fault_round: FaultRound) -> None:
        self.round, self.faults = fault_round.number, list(fault_round.faults)


class Screen:
    """Displays the counters. The run never waits for it."""

    def __init__(self, console: Console, progress: RunProgress, evidence: Evidence, tally: Tally) -> None:
        self._console = console
        self._progress = progress
        self._evidence = evidence
        self._tally = tally

    @asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        """Keep a live table on the terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4) as live:
            refreshing = asyncio.create_task(self._refresh(live))
            try:
                yield
            finally:
                refreshing.cancel()
                with suppress(asyncio.CancelledError):
                    await refreshing

    def on_round(self) -> None:
        """Print the plan of the round, so that the log shows what was injected when."""
        faults = "; ".join(f"{fault.after_s} s {fault}" for fault in self._progress.faults)
        self._console.print(f"  round {self._progress.round}: {faults}", highlight=False)

    async def _refresh(self, live: Live) -> None:
        while True:
            live.update(self._table())
            await asyncio.sleep(REFRESH_S)

    def _table(self) -> Table:
        calls, tally = self._evidence.outcomes, self._tally
        table = Table("round", "kills", "freezes", "ok", "failed", "unknown")
        counts = (tally.kills, tally.freezes_at.total(), calls["ok"], calls["failed"], calls["unknown"])
        table.add_row(str(self._progress.round), *map(str, counts))
        return table
