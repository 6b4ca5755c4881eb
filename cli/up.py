"""`tradefleet up`: start a local stack."""

import asyncio
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click

from cli.interruption import cancel_on_signals, signals_ignored
from cli.options import OneLineCommand
from cli.platform import home_option, list_processes, show_addresses
from stack import kafka
from stack.failure import BadInput
from stack.health import READY_TIMEOUT_S
from stack.home import find_process, read_state
from stack.market import MadeUpMarket
from stack.private_files import make_private_file
from stack.stack import GATEWAY_PORT, Stack, StackOptions

STEP_TIMEOUT_S = READY_TIMEOUT_S + 30  # without a new log line; a start step reports its own failure earlier
BAR_MS = 250
REPEATED_LINES = (" is waiting: ", " IS TAKEN ")  # lines of the start that `--detach` shows again
READY_LINE = "Ctrl-C stops everything"


@click.command(cls=OneLineCommand)
@home_option
@click.option("--detach", is_flag=True, help="Return when everything is ready; stop it with `tradefleet down`.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"Port of the gateway; default {GATEWAY_PORT}, or another if that is taken.",
)
@click.option(
    "--bar-ms",
    type=click.IntRange(10),
    default=BAR_MS,
    show_default=True,
    help="Milliseconds per minute of the market.",
)
@click.option("--split", is_flag=True, help="Run one process per role of each service, as in production.")
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
        await asyncio.to_thread(kafka.check)  # check first what is most often missing
        market = MadeUpMarket(home, bar_ms)
        options = StackOptions(
            market.arguments(), gateway_port=port, prepare_market=market.restore_position, split=split
        )
        async with Stack(home, options, lambda what: click.echo(f"  {what}")) as stack:
            click.echo(f"ready in {time.monotonic() - started:.0f} s")
            state = read_state(stack.home)
            assert state is not None, "the stack writes its state"
            show_addresses(state)
            click.echo(READY_LINE)
            await market.run(stack.sandbox)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


def _detach(home: Path, port: int | None, bar_ms: int, *, split: bool) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if (state := read_state(home)) and find_process(state.supervisor):
        raise BadInput(f"a stack is already running in {home}; see `tradefleet status`")
    log = home / "up.log"
    with make_private_file(log).open("w") as output:
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
    with ExitStack() as failed:
        failed.callback(_terminate, process)
        wait_until_ready(process, home, log)
        failed.pop_all()
    process.returncode = 0  # it keeps running; avoids a ResourceWarning of Popen
    found = read_state(home)
    assert found is not None, "the stack writes its state"
    show_addresses(found)
    for line in log.read_text().splitlines():
        if any(part in line for part in REPEATED_LINES):
            click.echo(line.strip())


def _terminate(process: "subprocess.Popen[bytes]") -> None:
    with signals_ignored():
        process.terminate()
        process.wait()


def wait_until_ready(
    process: "subprocess.Popen[bytes]", home: Path, log: Path, step_timeout_s: float = STEP_TIMEOUT_S
) -> None:
    """Wait while the start makes progress. Raises BadInput with the reason if it ends or stalls."""
    seen, changed_at = "", time.monotonic()
    while READY_LINE not in (text := log.read_text()):
        if process.poll() is not None:
            raise BadInput(f"the stack did not start: {_last_message(text)}")
        if text != seen:
            seen, changed_at = text, time.monotonic()
        elif time.monotonic() - changed_at > step_timeout_s:
            raise BadInput(f"the stack does not become ready: {_stall_reason(home, text)}")
        time.sleep(0.1)


def _last_message(text: str) -> str:
    """Return the last error message of ours, else the last line."""
    lines = text.splitlines() or ["no output"]
    ours = [line.removeprefix("tradefleet: ") for line in lines if line.startswith("tradefleet: ")]
    return (ours or lines)[-1].strip()


def _stall_reason(home: Path, text: str) -> str:
    state = read_state(home)
    unhealthy = (
        [str(each["name"]) for each in asyncio.run(list_processes(state)) if not each["healthy"]] if state else []
    )
    if not unhealthy:
        return f"no output after {_last_message(text)!r}"
    verb = "does" if len(unhealthy) == 1 else "do"
    return f"{', '.join(unhealthy)} {verb} not answer; the logs are in {home / 'logs'}"
