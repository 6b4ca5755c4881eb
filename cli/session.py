"""`tradefleet session`: compare a session with its backtest, or write its report."""

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.options import OneLineCommand
from cli.report.file import write_page
from cli.report.session_story import story_of_session
from cli.report.story import StopRecorder
from cli.session_drift import drift_command
from cli.tables import plain, show
from cli.target import home_option
from cli.trading_database import session_id_of, trading_dsn, with_trading
from services.trading.operations.verify_session import (
    NotVerifiable,
    SessionRecord,
    Verification,
    read_session,
    verify,
)
from shared.contracts.types import decimal_text, from_ms, instant_text
from shared.strategy.execution.outcome import Fill
from stack.failure import BadInput, CheckFailed


@click.group()
def session() -> None:
    """Compare a session with its backtest, or write its report."""


session.add_command(drift_command)


@session.command("verify", cls=OneLineCommand)
@click.argument("session_id", metavar="ID")
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify_command(session_id: str, home: Path | None, as_json: bool) -> None:
    """Run a backtest of a finished session's bars under its restrictions and compare the fills.

    Exit code 1 if they differ; shows the first difference. A live session is equal where the market waits for it,
    on the sandbox exchange; on a real market its prices are the market's: see `session drift`.
    """
    wanted = session_id_of(session_id)
    recorded = asyncio.run(read_record(trading_dsn(home), wanted))
    try:
        verification = _verify(recorded)
    except NotVerifiable as error:
        raise BadInput(str(error)) from error
    if as_json:
        click.echo(json.dumps(as_object(verification)))
    else:
        show(_table(verification))
    if not verification.holds:
        raise CheckFailed(f"session {wanted}: {describe_difference(verification)}")


@session.command("report", cls=OneLineCommand)
@click.argument("session_id", metavar="ID")
@click.option("--html", "page", required=True, metavar="FILE.html", help="The page to write.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def report_command(session_id: str, page: str, home: Path | None, as_json: bool) -> None:
    """Write a finished session as an HTML page, like `backtest --report`.

    Exit code 1 if its fills differ from those of a backtest under its restrictions: see `session verify`.
    """
    recorded = asyncio.run(read_record(trading_dsn(home), session_id_of(session_id)))
    if not recorded.bars:
        raise BadInput(f"session {session_id} has received no candle: there is nothing to show")
    recorder = StopRecorder()
    try:
        verification = _verify(recorded, recorder)
    except NotVerifiable as error:
        raise BadInput(str(error)) from error
    if not verification.holds:
        raise CheckFailed(f"session {session_id}: {describe_difference(verification)}")
    write_page(Path(page), story_of_session(verification, recorder.stops), "--html")
    written = {
        "session_id": session_id,
        "page": page,
        "fills": len(recorded.fills),
        "trades": len(verification.trades),
    }
    click.echo(json.dumps(written) if as_json else f"wrote {page}")


async def read_record(dsn: str, session_id: UUID) -> SessionRecord:
    """Read a finished session with trading's app role. Raises BadInput."""
    return await with_trading(dsn, lambda database: read_session(database, session_id))


def _verify(recorded: SessionRecord, recorder: StopRecorder | None = None) -> Verification:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("backtest", total=len(recorded.bars))
        watch = None if recorder is None else recorder.record
        return verify(recorded, lambda done, _: progress.update(task, completed=done), watch)


def as_object(verification: Verification) -> dict[str, object]:
    """Return the JSON of `--json`; amounts are plain decimal strings."""
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
    """Return the fill; None if there is no such fill."""
    if number > len(fills):
        return None
    values = fills[number - 1]._asdict()
    return {name: decimal_text(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def describe_difference(verification: Verification) -> str:
    """Return the first difference as one line."""
    row, number = verification.recorded.session, verification.first_difference()
    if number is not None:
        own, backtest = [
            _fill_text(fills, number) for fills in (verification.recorded.fills, verification.backtest)
        ]
        return f"fill {number} is {own}, in the backtest {backtest}"
    if row.fingerprint != verification.fingerprints[0]:
        return f"its fills have the fingerprint {verification.fingerprints[0]}, but {row.fingerprint} is stored"
    own_balance, other = _balance(row.final_balance), _balance(verification.final_balance)
    return f"its final balance is {own_balance}, the backtest's {other}"


def _balance(amount: Decimal | None) -> str:
    return "unknown" if amount is None else decimal_text(amount)


def _fill_text(fills: Sequence[Fill], number: int) -> str:
    if number > len(fills):
        return "missing"
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
        since = f"after {instant_text(each.after_bar)}" if each.after_bar else "from the first bar"
        table.add_row(each.kind.lower().replace("_", " "), since, since)
    table.add_row("fills", str(len(recorded.fills)), str(len(verification.backtest)))
    table.add_row("final balance", _balance(row.final_balance), _balance(verification.final_balance))
    table.add_row("fingerprint", own, backtest)
    table.add_row("equal", *(["yes", "yes"] if verification.holds else ["NO", "NO"]))
    return table
