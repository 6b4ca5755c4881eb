"""`tradefleet status` and `down`: inspect and stop a local stack. `up` is apart because it imports far more."""

import asyncio
import json
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from cli.options import OneLineCommand
from stack.cleanup import remove_home
from stack.failure import CheckFailed
from stack.health import is_healthy
from stack.home import DEFAULT_HOME, State, end_processes, find_process, read_state, strip_login

DOWN_TIMEOUT_S = 40

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=DEFAULT_HOME,
    show_default=True,
    help="The stack's folder.",
)


@click.command(cls=OneLineCommand)
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--secrets",
    is_flag=True,
    help="With --json: include passwords of the database's owner and of Kafka's operator.",
)
def status(home: Path, as_json: bool, secrets: bool) -> None:
    """Show the processes of a stack and their health."""
    state = read_state(home)
    if state is None or find_process(state.supervisor) is None:
        raise CheckFailed(f"no stack runs in {home}")
    processes = asyncio.run(list_processes(state))
    if as_json:
        shown = {"gateway": state.gateway, "services": state.services, "postgres": strip_login(state.postgres)}
        if secrets:
            shown |= {"postgres": state.postgres, "kafka_login": state.kafka_login}
        click.echo(json.dumps({**shown, "kafka": state.kafka, "processes": processes}))
        return
    show_addresses(state)
    table = Table("process", "pid", "health")
    for process in processes:
        table.add_row(str(process["name"]), str(process["pid"]), "healthy" if process["healthy"] else "unhealthy")
    Console().print(table)


async def list_processes(state: State) -> list[dict[str, object]]:
    """Return name, pid and health of each process."""
    health = await asyncio.gather(*(is_healthy(state.health[record.name]) for record in state.processes))
    return [
        {"name": record.name, "pid": record.pid, "healthy": healthy and find_process(record) is not None}
        for record, healthy in zip(state.processes, health, strict=True)
    ]


@click.command(cls=OneLineCommand)
@home_option
@click.option("--all", "everything", is_flag=True, help="Stop every stack in .tradefleet, including demos.")
@click.option("--remove", is_flag=True, help="Also delete their data.")
def down(home: Path, everything: bool, remove: bool) -> None:
    """Stop the stack of a folder."""
    homes = sorted(path for path in home.parent.glob("*") if (path / "logs").is_dir()) if everything else [home]
    stopped = [each for each in homes if _stop(each)]
    for each in stopped:
        click.echo(f"stopped {each}")
    if remove:
        for each in homes:
            remove_home(each)
    if not stopped:
        click.echo("no stack is running" if everything else f"no stack runs in {home}")


def _stop(home: Path) -> bool:
    state = read_state(home)
    if state is None:
        return False
    supervisor = find_process(state.supervisor)
    if supervisor is not None:
        supervisor.terminate()
        _, alive = psutil.wait_procs([supervisor], timeout=DOWN_TIMEOUT_S)
        end_processes(alive)
    end_processes([process for record in state.processes if (process := find_process(record))])
    (home / "state.json").unlink(missing_ok=True)
    return True


def show_addresses(state: State) -> None:
    """Print a table of the addresses."""
    table = Table("part", "address")
    table.add_row("gateway", state.gateway)
    for service, url in state.services.items():
        table.add_row(service, url)
    table.add_row("postgres", state.postgres.rpartition("@")[2])
    table.add_row("kafka", state.kafka)
    table.add_row("exchange sandbox", state.sandbox)
    Console().print(table)
