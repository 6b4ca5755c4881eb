"""`tradefleet up`, `status`, `down`."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from cli.failure import BadInput, CheckFailed
from cli.options import OneLineCommand
from cli.stack import kafka
from cli.stack.health import answers
from cli.stack.home import DEFAULT_HOME, State, end_processes, read_state, running, without_login
from cli.stack.market import MadeUpMarket
from cli.stack.private_files import private_file
from cli.stack.remains import remove_home
from cli.stack.stack import Stack, StackOptions

DETACH_TIMEOUT_S = 120
DOWN_TIMEOUT_S = 40
PACE_MS = 1_000
LAST_WORD = "Ctrl-C stops everything"

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=DEFAULT_HOME,
    show_default=True,
    help="The stack's folder.",
)


@click.command(cls=OneLineCommand)
@home_option
@click.option("--detach", is_flag=True, help="Return when everything is ready; `tradefleet down` stops it.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="The gateway's.")
@click.option("--bar-ms", type=click.IntRange(10), default=PACE_MS, show_default=True, help="Pace of the market.")
@click.option("--split", is_flag=True, help="A process per role of each service, as in production.")
def up(home: Path, detach: bool, port: int, bar_ms: int, split: bool) -> None:
    """Start the whole platform on this machine, with a made-up market."""
    if detach:
        _detach(home, port, bar_ms, split=split)
    else:
        asyncio.run(_run_until_interrupted(home, port, bar_ms, split=split))
        raise SystemExit(130)


async def _run_until_interrupted(home: Path, port: int, bar_ms: int, *, split: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    started = time.monotonic()

    def interrupt() -> None:
        if not stop.is_set():
            stop.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt)
    try:
        await asyncio.to_thread(kafka.check)  # what is most often missing, before the candles
        market = MadeUpMarket(home, bar_ms)
        options = StackOptions(
            market.arguments(), gateway_port=port, prepare_market=market.go_to_position, split=split
        )
        async with Stack(home, options, lambda what: click.echo(f"  {what}")) as stack:
            click.echo(f"ready in {time.monotonic() - started:.0f} s")
            state = read_state(stack.home)
            assert state is not None, "the stack notes its state"
            show_addresses(state)
            click.echo(LAST_WORD)
            await market.run(stack.sandbox)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        click.echo("stopped", err=True)


def _detach(home: Path, port: int, bar_ms: int, *, split: bool) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if (state := read_state(home)) and running(state.supervisor):
        raise BadInput(f"a stack runs in {home} already; see `tradefleet status`")
    log = home / "up.log"
    with private_file(log).open("w") as output:
        arguments = ["--home", str(home), "--port", str(port), "--bar-ms", str(bar_ms)]
        arguments += ["--split"] if split else []
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, log)
    except BaseException:  # Ctrl-C among them
        process.terminate()
        raise
    process.returncode = 0  # it lives on by itself
    found = read_state(home)
    assert found is not None, "the stack notes its state"
    show_addresses(found)
    for line in log.read_text().splitlines():
        if " waits: " in line:
            click.echo(line.strip())


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + DETACH_TIMEOUT_S
    while LAST_WORD not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (log.read_text().splitlines() or ["no word"])[-1]
            raise BadInput(f"the stack did not start: {said.removeprefix('tradefleet: ')}")
        time.sleep(0.1)


@click.command(cls=OneLineCommand)
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--secrets", is_flag=True, help="With --json: passwords of the database's owner and of Kafka's operator."
)
def status(home: Path, as_json: bool, secrets: bool) -> None:
    """What runs where, and whether it is healthy."""
    state = read_state(home)
    if state is None or running(state.supervisor) is None:
        raise CheckFailed(f"no stack runs in {home}")
    processes = asyncio.run(_processes(state))
    if as_json:
        shown = {"gateway": state.gateway, "services": state.services, "postgres": without_login(state.postgres)}
        if secrets:
            shown |= {"postgres": state.postgres, "kafka_login": state.kafka_login}
        click.echo(json.dumps({**shown, "kafka": state.kafka, "processes": processes}))
        return
    show_addresses(state)
    table = Table("process", "pid", "health")
    for process in processes:
        table.add_row(str(process["name"]), str(process["pid"]), "healthy" if process["healthy"] else "unhealthy")
    Console().print(table)


async def _processes(state: State) -> list[dict[str, object]]:
    health = await asyncio.gather(*(answers(state.health[note.name]) for note in state.processes))
    return [
        {"name": note.name, "pid": note.pid, "healthy": healthy and running(note) is not None}
        for note, healthy in zip(state.processes, health, strict=True)
    ]


@click.command(cls=OneLineCommand)
@home_option
@click.option("--all", "everything", is_flag=True, help="Demos too: every stack below .tradefleet.")
@click.option("--remove", is_flag=True, help="Remove what they kept.")
def down(home: Path, everything: bool, remove: bool) -> None:
    """Stop the stack that runs in this folder."""
    homes = sorted(path for path in home.parent.glob("*") if (path / "logs").is_dir()) if everything else [home]
    stopped = [each for each in homes if _stop(each)]
    for each in stopped:
        click.echo(f"stopped {each}")
    if remove:
        for each in homes:
            remove_home(each)
    if not stopped:
        click.echo("nothing runs" if everything else f"no stack runs in {home}")


def _stop(home: Path) -> bool:
    state = read_state(home)
    if state is None:
        return False
    supervisor = running(state.supervisor)
    if supervisor is not None:
        supervisor.terminate()
        _, alive = psutil.wait_procs([supervisor], timeout=DOWN_TIMEOUT_S)
        end_processes(alive)
    end_processes([process for note in state.processes if (process := running(note))])
    (home / "state.json").unlink(missing_ok=True)
    return True


def show_addresses(state: State) -> None:
    """A table of what listens where."""
    table = Table("what", "where")
    table.add_row("gateway", state.gateway)
    for service, url in state.services.items():
        table.add_row(service, url)
    table.add_row("postgres", state.postgres.rpartition("@")[2])
    table.add_row("kafka", state.kafka)
    table.add_row("sandbox of the exchange", state.sandbox)
    Console().print(table)
