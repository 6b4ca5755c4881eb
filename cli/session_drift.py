"""`tradefleet session drift`: each trade of a session beside its backtest's, and what the difference is made of."""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import click
from rich.table import Table

from cli.options import OneLineCommand
from cli.tables import show
from cli.target import home_option
from cli.trading_database import session_id_of, trading_dsn, with_trading
from services.trading.operations.session_drift import Traded, drift_of, read_trades
from services.trading.operations.verify_session import MAX_BARS, NotVerifiable, locate_session
from services.trading.routes.session_drift import DriftPartsView, DriftView, TradeDriftView, drift_view
from shared.chassis.postgres import Database
from shared.contracts.types import decimal_text, instant_text
from shared.strategy.bars import INTERVAL_MS
from stack.failure import BadInput

PARTS = tuple(DriftPartsView.model_fields)


@click.command("drift", cls=OneLineCommand)
@click.argument("session_id", metavar="ID")
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as `GET /v1/sessions/{id}/drift` answers.")
def drift_command(session_id: str, home: Path | None, as_json: bool) -> None:
    """Compare each closed trade with a backtest's, and split the difference into price, fee, funding, latency and
    missed fills."""
    wanted = session_id_of(session_id)
    traded = asyncio.run(with_trading(trading_dsn(home), lambda database: _read(database, wanted)))
    row = traded.recorded.session
    try:
        view = drift_view(wanted, row.last_bar, INTERVAL_MS[row.interval], drift_of(traded))
    except NotVerifiable as error:
        raise BadInput(str(error)) from error
    if as_json:
        click.echo(json.dumps(view.model_dump(mode="json")))
    else:
        show(_table(view))


async def _read(database: Database, session_id: UUID) -> Traded:
    user_id = await locate_session(database, session_id)
    async with database.tenant(user_id) as connection:
        return await read_trades(connection, user_id, session_id, MAX_BARS)


def _table(view: DriftView) -> Table:
    columns = ("entry", "side", "quantity", "session pnl", "backtest pnl", "latency ms")
    table = Table(*columns, *(name.replace("_", " ") for name in PARTS), title=f"session {view.session_id}")
    for trade in view.trades:
        table.add_row(*_facts(trade), *_amounts(trade))
    table.add_section()
    table.add_row("total", "", "", "", "", "", *_amounts(view.sums))
    return table


def _facts(trade: TradeDriftView) -> list[str]:
    own, other = trade.session, trade.backtest
    shown = own or other
    assert shown is not None, "one of them is there"
    quantities = [decimal_text(each.quantity) if each is not None else "none" for each in (own, other)]
    return [
        instant_text(shown.entry_time),
        trade.side,
        quantities[0] if quantities[0] == quantities[1] else " / ".join(quantities),
        decimal_text(own.pnl) if own is not None else "",
        decimal_text(other.pnl) if other is not None else "",
        "" if trade.entry_latency_ms is None else str(trade.entry_latency_ms),
    ]


def _amounts(parts: DriftPartsView) -> list[str]:
    return [decimal_text(getattr(parts, name)) for name in PARTS]
