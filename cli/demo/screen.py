"""Display of the running demo: a live table on a terminal, plain lines otherwise."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal

import asyncpg
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.demo.replay import ReplayProgress
from cli.demo.scenario import DemoTenant
from shared.contracts.types import decimal_text

REFRESH_S = 0.5
LINES = 10  # of progress, without a terminal

PER_TENANT = """
    SELECT u.email, count(s.session_id) AS sessions, coalesce(sum(s.fill_count), 0) AS fills,
           coalesce(sum(s.total_pnl), 0) AS pnl
    FROM auth.users u LEFT JOIN trading.user_trading_sessions s USING (user_id)
    GROUP BY u.email
"""


class Screen:
    """Polls the database twice a second, independently of the replay."""

    def __init__(
        self, console: Console, owner_dsn: str, tenants: list[DemoTenant], progress: ReplayProgress
    ) -> None:
        self._console = console
        self._owner_dsn = owner_dsn
        self._tenants = tenants
        self._progress = progress
        self._tenths_printed = 0
        self._last_note = ""

    @asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        """Show the live table inside the context."""
        if not self._console.is_terminal:
            yield
            return
        connection = await asyncpg.connect(self._owner_dsn)
        with Live(console=self._console, refresh_per_second=4) as live:
            refreshing = asyncio.create_task(self._refresh(live, connection))
            try:
                yield
            finally:
                refreshing.cancel()
                with suppress(asyncio.CancelledError):
                    await refreshing
                live.update(await self._table(connection))
        await connection.close()

    def on_step(self) -> None:
        """Print a line for every tenth of the steps and for every new note."""
        progress = self._progress
        if self._console.is_terminal:
            return
        if progress.note != self._last_note:
            self._last_note = progress.note
            self._console.print(f"  {progress.note}")
        tenth = progress.steps_done * LINES // max(1, progress.steps_total)
        if tenth > self._tenths_printed:
            self._tenths_printed = tenth
            self._console.print(
                f"  {progress.steps_done} of {progress.steps_total} steps, market at {progress.clock}"
            )

    async def _refresh(self, live: Live, connection: asyncpg.Connection) -> None:
        while True:
            live.update(await self._table(connection))
            await asyncio.sleep(REFRESH_S)

    async def _table(self, connection: asyncpg.Connection) -> Table:
        progress = self._progress
        rows = {row["email"]: row for row in await connection.fetch(PER_TENANT)}
        table = Table(
            "tenant",
            "plan",
            "trades on",
            "sessions",
            "fills",
            "pnl",
            title=f"bar {progress.steps_done} of {progress.steps_total}, market at {progress.clock}",
            caption=f"sessions behind: {progress.behind}  {progress.note}",
        )
        for tenant in self._tenants:
            row = rows[tenant.email]
            place = "the exchange" if tenant.is_live else "paper"
            table.add_row(
                tenant.email, tenant.plan, place, str(row["sessions"]), str(row["fills"]), money(row["pnl"])
            )
        return table


def money(amount: Decimal) -> str:
    """Format with two decimals for display; the JSON has all digits."""
    return decimal_text(Decimal(amount).quantize(Decimal("0.01")))
