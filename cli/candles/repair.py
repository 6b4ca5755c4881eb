"""`tradefleet candles check|repair`: compare the stored candles of a series with the exchange."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import click
from rich.table import Table

from cli.options import OneLineCommand, quoted
from cli.tables import show
from cli.target import home_option
from services.trading.bybit_api import MarketApi, UnknownSymbol
from services.trading.exchange.venue import VenueUnavailable
from services.trading.operations.repair_candles import CandleFinding, examine, repair_bars
from services.trading.queries.candle_chain import StoredSpan, list_spans
from services.trading.settings import TradingSettings
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.types import instant_text
from shared.strategy.bars import INTERVAL_MS
from stack.failure import BadInput
from stack.home import DEFAULT_HOME, read_state

BAR_STEPS = 1_000  # of the progress bar, per generation
MAX_ROWS_SHOWN = 200


@dataclass
class Checked:
    """One generation of the series and its findings."""

    span: StoredSpan
    findings: list[CandleFinding] = field(default_factory=list)
    repaired: int = 0

    @property
    def wrong(self) -> list[CandleFinding]:
        return [finding for finding in self.findings if finding.kind != "hole"]


def _series(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        home_option,
        click.option(
            "--endpoint", default=None, metavar="URL", help="Address of the exchange's API; default: the stack's."
        ),
        click.option("--interval", required=True, type=click.Choice([*INTERVAL_MS])),
        click.argument("symbol"),
    ):
        command = option(command)
    return command


@click.command("check", cls=OneLineCommand)
@_series
def check_command(symbol: str, interval: str, endpoint: str | None, home: Path | None, as_json: bool) -> None:
    """Find missing and different bars. Exit code 1 if there are any.

    A hole, where the exchange has no bar either, is shown but is not a fault.
    """
    checked = asyncio.run(_run(home, endpoint, symbol, interval, repair=False))
    _print(symbol, interval, checked, as_json)
    if any(each.wrong for each in checked):
        raise SystemExit(1)


@click.command("repair", cls=OneLineCommand)
@_series
def repair_command(symbol: str, interval: str, endpoint: str | None, home: Path | None, as_json: bool) -> None:
    """Fill in missing bars. Stored bars never change: exit code 1 if one differs from the exchange's.

    Safe to run while the platform runs, and to repeat.
    """
    checked = asyncio.run(_run(home, endpoint, symbol, interval, repair=True))
    _print(symbol, interval, checked, as_json)
    if any(finding.kind in ("changed", "unknown") for each in checked for finding in each.wrong):
        raise SystemExit(1)


async def _run(
    home: Path | None, endpoint: str | None, symbol: str, interval: str, *, repair: bool
) -> list[Checked]:
    dsn, url = _find_addresses(home, endpoint)
    api = MarketApi(url)
    try:
        database = await Database.connect(_settings(dsn))
        try:
            return await _examine_all(database, api, symbol, interval, repair=repair)
        finally:
            await database.close()
    except UnknownSymbol as error:
        raise BadInput(f"the exchange does not know {quoted(symbol)}") from error
    except VenueUnavailable as error:
        raise BadInput(f"the exchange does not answer: {error}") from error
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"trading's database does not answer: {error!r}") from error
    finally:
        api.close()


async def _examine_all(
    database: Database, api: MarketApi, symbol: str, interval: str, *, repair: bool
) -> list[Checked]:
    async with database.tenants(()) as connection:
        spans = await list_spans(connection, symbol, interval)
    if not spans:
        raise BadInput(f"no candles of {quoted(symbol)} {interval} are stored")
    with _progress(len(spans)) as advance:
        return [await _examine(database, api, symbol, interval, span, advance, repair=repair) for span in spans]


async def _examine(
    database: Database,
    api: MarketApi,
    symbol: str,
    interval: str,
    span: StoredSpan,
    advance: Callable[[int], None],
    *,
    repair: bool,
) -> Checked:
    checked, done, length = Checked(span), 0, max(span.last - span.first, span.last.resolution)
    async for window in examine(database, api, symbol, interval, span):
        checked.findings += window.findings
        if repair:
            checked.repaired += await repair_bars(database, span, window)
        reached = int(BAR_STEPS * (window.last - span.first) / length)
        advance(reached - done)
        done = reached
    return checked


@contextmanager
def _progress(spans: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=spans * BAR_STEPS, label="examining", file=sys.stderr) as bar:
        yield bar.update


def _find_addresses(home: Path | None, endpoint: str | None) -> tuple[str, str]:
    """Return the DSN and the REST address: of `home` if given, else from the environment, else of `up`'s home.

    Raises BadInput.
    """
    if endpoint is not None and urlsplit(endpoint).scheme not in ("http", "https"):
        raise BadInput(f"--endpoint: {quoted(endpoint)} is not an HTTP URL")
    if home is None and (dsn := os.environ.get("POSTGRES_TRADING_WORKER_DSN")):
        return dsn, endpoint or os.environ.get("BYBIT_REST_URL", "")
    home = home or DEFAULT_HOME
    state = read_state(home)
    if state is None or not state.candles:
        raise BadInput(
            f"no stack runs in {home}; start one with `tradefleet up`, or set POSTGRES_TRADING_WORKER_DSN and "
            "BYBIT_REST_URL"
        )
    return state.candles, endpoint or state.sandbox


def _settings(dsn: str) -> TradingSettings:
    # Only one pool is used; the others are never opened.
    dsns = {f"postgres_{role}_dsn": dsn for role in ("app", "worker", "queue")}
    return TradingSettings.model_validate({**dsns, "kafka_bootstrap": ""})


def _print(symbol: str, interval: str, checked: list[Checked], as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps({"symbol": symbol, "interval": interval, "generations": [_shown(each) for each in checked]})
        )
        return
    rows = [(each, finding) for each in checked for finding in each.findings]
    if rows:
        table = Table("generation", "finding", "bars", "from", "to")
        for each, finding in rows[:MAX_ROWS_SHOWN]:
            span = instant_text(finding.first), instant_text(finding.last)
            table.add_row(str(each.span.generation), finding.kind, str(finding.bars), *span)
        show(table)
    if len(rows) > MAX_ROWS_SHOWN:
        click.echo(f"and {len(rows) - MAX_ROWS_SHOWN} more: see --json")
    for each in checked:
        click.echo(_line(symbol, interval, each))


def _line(symbol: str, interval: str, checked: Checked) -> str:
    span = checked.span
    counts = dict.fromkeys(("missing", "unlinked", "changed", "unknown", "hole"), 0)
    for finding in checked.findings:
        counts[finding.kind] += finding.bars
    found = ", ".join(f"{bars} {kind}" for kind, bars in counts.items() if bars) or "no faults"
    repaired = f"; {checked.repaired} bars filled in" if checked.repaired else ""
    return f"{symbol} {interval}, generation {span.generation}: {span.bars} bars stored, {found}{repaired}"


def _shown(checked: Checked) -> dict[str, object]:
    span = checked.span
    return {
        "generation": span.generation,
        "bars": span.bars,
        "first": instant_text(span.first),
        "last": instant_text(span.last),
        "repaired": checked.repaired,
        "findings": [
            {"what": f.kind, "bars": f.bars, "from": instant_text(f.first), "to": instant_text(f.last)}
            for f in checked.findings
        ],
    }
