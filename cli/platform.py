"""`tradefleet up`, `status`, `down`."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from cli.failure import BadInput, CheckFailed
from cli.interruption import cancel_on_signals, signals_ignored
from cli.options import OneLineCommand
from stack import kafka
from stack.cleanup import remove_home
from stack.health import answers
from stack.home import DEFAULT_HOME, State, end_processes, read_state, running, without_login
from stack.market import MadeUpMarket
from stack.private_files import private_file
from stack.stack import GATEWAY_PORT, READY_TIMEOUT_S, Stack, StackOptions

STEP_TIMEOUT_S = READY_TIMEOUT_S + 30  # without a further line; a step of the start names its own fault before
DOWN_TIMEOUT_S = 40
PACE_MS = 250
REPEATED = (" waits: ", " IS TAKEN ")  # what of the start's lines a person has to know afterwards
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
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"The gateway's; without it {GATEWAY_PORT}, or another one where that is taken.",
)
@click.option(
    "--bar-ms",
    type=click.IntRange(10),
    default=PACE_MS,
    show_default=True,
    help="How long a minute of the market takes.",
)
@click.option("--split", is_flag=True, help="A process per role of each service, as in production.")
def up(home: Path, detach: bool, port: int | None, bar_ms: int, split: bool) -> None:
    """Start the whole platform on this machine, with a made-up market."""
    if detach:
        _detach(home, port, bar_ms, split=split)
    else:
        asyncio.run(_run_until_interrupted(home, port, bar_ms, split=split))
        raise SystemExit(130)


async def _run_until_interrupted(home: Path, port: int | None, bar_ms: int, *, split: bool) -> None:
    stop = cancel_on_signals()
    started = time.monotonic()
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


def _detach(home: Path, port: int | None, bar_ms: int, *, split: bool) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if (state := read_state(home)) and running(state.supervisor):
        raise BadInput(f"a stack runs in {home} already; see `tradefleet status`")
    log = home / "up.log"
    with private_file(log).open("w") as output:
        arguments = ["--home", str(home), "--bar-ms", str(bar_ms)]
        arguments += [] if port is None else ["--port", str(port)]
        arguments += ["--split"] if split else []
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until_ready(process, home, log)
    except BaseException:  # Ctrl-C among them
        with signals_ignored():
            process.terminate()
            process.wait()
        raise
    process.returncode = 0  # it lives on by itself
    found = read_state(home)
    assert found is not None, "the stack notes its state"
    show_addresses(found)
    for line in log.read_text().splitlines():
        if any(part in line for part in REPEATED):
            click.echo(line.strip())


def wait_until_ready(
    process: "subprocess.Popen[bytes]", home: Path, log: Path, step_timeout_s: float = STEP_TIMEOUT_S
) -> None:
    """As long as the start makes progress. Raises BadInput with what is missing."""
    seen, moved_at = "", time.monotonic()
    while LAST_WORD not in (text := log.read_text()):
        if process.poll() is not None:
            raise BadInput(f"the stack did not start: {_last_word(text)}")
        if text != seen:
            seen, moved_at = text, time.monotonic()
        elif time.monotonic() - moved_at > step_timeout_s:
            raise BadInput(f"the stack does not get ready: {_what_is_missing(home, text)}")
        time.sleep(0.1)


def _last_word(text: str) -> str:
    """The line that says why it ended, where there is one."""
    lines = text.splitlines() or ["no word"]
    ours = [line.removeprefix("tradefleet: ") for line in lines if line.startswith("tradefleet: ")]
    return (ours or lines)[-1].strip()


def _what_is_missing(home: Path, text: str) -> str:
    state = read_state(home)
    silent = [str(each["name"]) for each in asyncio.run(_processes(state)) if not each["healthy"]] if state else []
    if not silent:
        return f"nothing came after {_last_word(text)!r}"
    return f"{', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not answer; the logs are in {home / 'logs'}"


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
