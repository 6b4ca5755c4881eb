"""`tradefleet faults`: run the platform under injected faults."""

import asyncio
import json
import os
import time
from pathlib import Path

import click
from rich.console import Console

from cli.interruption import cancel_on_signals, signals_ignored
from cli.options import BadOption, OneLineCommand, quoted
from faults.families import FAMILIES
from faults.plan import STRIKES_A_ROUND
from faults.report import FaultReport
from faults.runner import FaultOptions, Run
from stack.cleanup import remove_home
from stack.failure import BadInput
from stack.layout import processes_per_role

HOME = Path(".tradefleet")
ROUNDS = 10


@click.command(cls=OneLineCommand)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of all random choices; default: the time.")
@click.option(
    "--rounds", type=click.IntRange(1), help=f"Number of rounds; default {ROUNDS}, or unlimited with --minutes."
)
@click.option(
    "--strikes",
    type=click.IntRange(1, len(processes_per_role())),
    default=STRIKES_A_ROUND,
    show_default=True,
    help="Processes killed or frozen at a crash point in each round.",
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Run rounds for this many minutes.")
@click.option(
    "--family", default=",".join(FAMILIES), show_default=True, help="Families of faults, comma-separated."
)
@click.option("--home", type=click.Path(path_type=Path), help="New folder for the run; it is kept afterwards.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def faults(
    seed: int | None,
    rounds: int | None,
    strikes: int,
    minutes: float | None,
    family: str,
    home: Path | None,
    as_json: bool,
) -> None:
    """Inject random faults and check that nothing is lost, duplicated or mixed between tenants."""
    options = FaultOptions(
        seed=time.time_ns() // 1_000_000 if seed is None else seed,
        families=_families(family),
        rounds=ROUNDS if rounds is None and minutes is None else rounds,
        minutes=minutes,
        strikes=strikes,
    )
    if os.environ.get("KAFKA_BOOTSTRAP"):
        raise BadInput("KAFKA_BOOTSTRAP is set, but fault runs kill their broker: unset it")
    if home is not None and home.exists() and any(home.iterdir()):
        raise BadOption(f"--home: {home} is not empty")
    folder = home or HOME / f"faults-{options.seed}-{time.time_ns() // 1_000_000}"
    console = Console(stderr=as_json, soft_wrap=True)
    try:
        report = asyncio.run(_run(options, folder, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        if home is None:
            with signals_ignored():
                remove_home(folder)
        raise
    report.show(console)
    if report.ok and home is None:
        remove_home(folder)
    else:
        console.print(f"evidence: {folder}")
    if as_json:
        print(json.dumps(report.as_object()), flush=True)
    if not report.ok:
        raise SystemExit(1)


async def _run(options: FaultOptions, home: Path, console: Console) -> FaultReport:
    cancel_on_signals()
    console.print(f"seed {options.seed}, families {','.join(options.families)}")
    return await Run(options, home, console).run()


def _families(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",")]
    for name in names:
        if name not in FAMILIES:
            raise BadOption(f"--family: {quoted(name)} is not one of {', '.join(FAMILIES)}")
    if len(set(names)) < len(names):
        raise BadOption("--family: a family is given twice")
    return names
