"""`tradefleet session`: what an operator may ask of a session."""

import asyncio
import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.failure import BadInput, CheckFailed
from cli.options import BadOption, OneLineCommand, quoted
from cli.report.file import write_page
from cli.report.session_story import of_session
from cli.report.story import StopLine
from cli.tables import plain, show
from cli.target import home_option
from services.trading.operations.verify_session import NotVerifiable, Recorded, Verification, read_session, verify
from services.trading.settings import TradingSettings
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.types import decimal_text, from_ms, instant_text
from shared.strategy.execution.outcome import Fill
from stack.home import DEFAULT_HOME, read_state


@click.group()
def session() -> None:
    """Sessions, and whether they did what a backtest does."""


@session.command("verify", cls=OneLineCommand)
@click.argument("session_id", metavar="ID")
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify_command(session_id: str, home: Path | None, as_json: bool) -> None:
    """Run the backtest of a finished session's bars, under what held it back, and compare the fills.

    Exit code 1 where they differ; the first that does is named.
    """
    wanted = _id(session_id)
    recorded = asyncio.run(_read(trading_dsn(home), wanted))
    try:
        verification = _verify(recorded)
    except NotVerifiable as error:
        raise BadInput(str(error)) from error
    if as_json:
        click.echo(json.dumps(as_object(verification)))
    else:
        show(_table(verification))
    if not verification.holds:
        raise CheckFailed(f"session {wanted}: {difference(verification)}")


@session.command("report", cls=OneLineCommand)
@click.argument("session_id", metavar="ID")
@click.option("--html", "page", required=True, metavar="FILE.html", help="The page to write.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def report_command(session_id: str, page: str, home: Path | None, as_json: bool) -> None:
    """Write a finished session as the page that `backtest --report` writes of a backtest.

    Exit code 1 where its fills are not those of a backtest under what held it back: see `session verify`.
    """
    recorded = asyncio.run(_read(trading_dsn(home), _id(session_id)))
    if not recorded.bars:
        raise BadInput(f"session {session_id} has seen no candle: there is nothing to show")
    line = StopLine()
    try:
        verification = _verify(recorded, line)
    except NotVerifiable as error:
        raise BadInput(str(error)) from error
    if not verification.holds:
        raise CheckFailed(f"session {session_id}: {difference(verification)}")
    write_page(Path(page), of_session(verification, line.stops), "--html")
    written = {
        "session_id": session_id,
        "page": page,
        "fills": len(recorded.fills),
        "trades": len(verification.trades),
    }
    click.echo(json.dumps(written) if as_json else f"wrote {page}")


def _id(text: str) -> UUID:
    try:
        if len(text) != 36:
            raise ValueError("not the canonical form")
        return UUID(text)
    except ValueError:
        raise BadOption(f"ID: {quoted(text)} is not a session's id") from None


def trading_dsn(home: Path | None) -> str:
    """The named stack's; else that of trading's environment, where this runs inside it; else `up`'s."""
    if home is None and (dsn := os.environ.get("POSTGRES_APP_DSN")):
        return dsn
    home = home or DEFAULT_HOME
    state = read_state(home)
    if state is None or not state.trading:
        raise BadInput(f"no stack runs in {home}; start one with `tradefleet up`, or set POSTGRES_APP_DSN")
    return state.trading


async def _read(dsn: str, session_id: UUID) -> Recorded:
    """As trading's own role. Raises BadInput."""
    dsns = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), dsn)
    database = await Database.connect(TradingSettings.model_validate({**dsns, "kafka_bootstrap": ""}))
    try:
        return await read_session(database, session_id)
    except NotVerifiable as error:
        raise BadInput(str(error)) from error
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"trading's database does not answer: {error!r}") from error
    finally:
        await database.close()


def _verify(recorded: Recorded, line: StopLine | None = None) -> Verification:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("backtest", total=len(recorded.bars))
        watch = None if line is None else line.see
        return verify(recorded, lambda done, _: progress.update(task, completed=done), watch)


def as_object(verification: Verification) -> dict[str, object]:
    """What `--json` prints; amounts are plain decimal strings."""
    recorded, row = verification.recorded, verification.recorded.session
    own, backtest = verification.fingerprints
    number = verification.first_difference()
    return {
        "session_id": str(row.session_id),
        "equal": verification.holds,
        "fingerprint": own,
        "backtest_fingerprint": backtest,
        "stored_fingerprint": row.fingerprint,
        "fills": len(recorded.fills),
        "backtest_fills": len(verification.backtest),
        "final_balance": None if row.final_balance is None else decimal_text(row.final_balance),
        "backtest_final_balance": decimal_text(verification.final_balance),
        "strategy_hash": row.strategy_hash,
        "symbol": row.symbol,
        "interval": row.interval,
        "bars": len(recorded.bars),
        "first_bar": instant_text(row.first_bar) if row.first_bar else None,
        "last_bar": instant_text(row.last_bar) if row.last_bar else None,
        "restrictions": [
            {
                "kind": each.kind,
                "reason": each.reason,
                "after_bar": instant_text(each.after_bar) if each.after_bar else None,
            }
            for each in recorded.restrictions
        ],
        "first_difference": None
        if number is None
        else {
            "fill_number": number,
            "session": _fill_object(recorded.fills, number),
            "backtest": _fill_object(verification.backtest, number),
        },
    }


def _fill_object(fills: Sequence[Fill], number: int) -> dict[str, object] | None:
    """None where there is no such fill."""
    if number > len(fills):
        return None
    values = fills[number - 1]._asdict()
    return {name: decimal_text(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def difference(verification: Verification) -> str:
    """In one line, what differs first."""
    row, number = verification.recorded.session, verification.first_difference()
    if number is not None:
        own, backtest = [
            _fill_text(fills, number) for fills in (verification.recorded.fills, verification.backtest)
        ]
        return f"fill {number} is {own}, in the backtest {backtest}"
    if row.fingerprint != verification.fingerprints[0]:
        return f"its fills give the fingerprint {verification.fingerprints[0]}, stored is {row.fingerprint}"
    own_balance, other = _balance(row.final_balance), _balance(verification.final_balance)
    return f"its final balance is {own_balance}, the backtest's {other}"


def _balance(amount: Decimal | None) -> str:
    return "unknown" if amount is None else decimal_text(amount)


def _fill_text(fills: Sequence[Fill], number: int) -> str:
    if number > len(fills):
        return "not there"
    fill = fills[number - 1]
    what = f"{fill.action} {fill.side} {decimal_text(fill.qty)} at {decimal_text(fill.price)}"
    return f"{what} ({fill.reason}, bar {instant_text(from_ms(fill.time_ms))})"


def _table(verification: Verification) -> Table:
    recorded, row = verification.recorded, verification.recorded.session
    own, backtest = verification.fingerprints
    table = Table("", "session", "backtest", title=f"session {row.session_id}")
    table.add_row("strategy", plain(row.strategy_hash[:12]), plain(row.strategy_hash[:12]))
    bars = f"{len(recorded.bars)} of {row.symbol}, interval {row.interval}"
    table.add_row("bars", bars, bars)
    table.add_row("decides from", *[instant_text(row.first_bar) if row.first_bar else "never"] * 2)
    for each in recorded.restrictions:
        held = f"after {instant_text(each.after_bar)}" if each.after_bar else "from the first bar"
        table.add_row(each.kind.lower().replace("_", " "), held, held)
    table.add_row("fills", str(len(recorded.fills)), str(len(verification.backtest)))
    table.add_row("final balance", _balance(row.final_balance), _balance(verification.final_balance))
    table.add_row("fingerprint", own, backtest)
    table.add_row("equal", *(["yes", "yes"] if verification.holds else ["NO", "NO"]))
    return table
