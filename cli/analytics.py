"""`tradefleet analytics`: rebuild the daily performance from the trades."""

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import asyncpg
import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.options import BadOption, OneLineCommand, quoted
from cli.target import home_option
from services.analytics.operations import rebuild
from services.analytics.operations.days import Computed
from services.analytics.settings import AnalyticsSettings
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from stack.failure import BadInput
from stack.home import DEFAULT_HOME, read_state


@dataclass(frozen=True)
class Total:
    """Totals over all users; `changed` counts rows of days that differed from the rebuilt ones."""

    users: int = 0
    trades: int = 0
    days: int = 0
    changed: int = 0


@click.group()
def analytics() -> None:
    """Maintain the data of analytics."""


@analytics.command("rebuild", cls=OneLineCommand)
@click.option("--email", default=None, help="Rebuild this user only.")
@click.option("--all", "all_users", is_flag=True, help="Rebuild all users.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def rebuild_command(email: str | None, all_users: bool, home: Path | None, as_json: bool) -> None:
    """Rebuild all days from the trades, one user per transaction, so that readers see no partial result."""
    if (email is None) != all_users:
        raise BadOption("use either --email … or --all")
    total = asyncio.run(_rebuild(*analytics_dsns(home), email))
    if as_json:
        click.echo(json.dumps(asdict(total)))
    else:
        shown = f"rebuilt {total.days} days of {total.users} users from {total.trades} trades"
        click.echo(f"{shown}; {total.changed} of them were wrong")


def analytics_dsns(home: Path | None) -> tuple[str, str]:
    """Return the DSNs of worker and queue: of `home` if given, else from the environment, else of `up`'s home.

    Raises BadInput.
    """
    worker, queue = os.environ.get("POSTGRES_WORKER_DSN"), os.environ.get("POSTGRES_QUEUE_DSN")
    if home is None and worker and queue:
        return worker, queue
    home = home or DEFAULT_HOME
    state = read_state(home)
    if state is None or not state.analytics:
        variables = "POSTGRES_WORKER_DSN and POSTGRES_QUEUE_DSN of analytics"
        raise BadInput(f"no stack runs in {home}; start one with `tradefleet up`, or set {variables}")
    return state.analytics, state.queues["analytics"]


async def _rebuild(worker_dsn: str, queue_dsn: str, email: str | None) -> Total:
    database = await Database.connect(_settings(worker_dsn, queue_dsn))
    try:
        if email is None:
            return await _rebuild_all(database)
        user_id = await rebuild.find_user(database, email)
        if user_id is None:
            raise BadInput(f"no user is registered as {quoted(email)}")
        return _with_user(Total(), await rebuild.rebuild_user(database, user_id))
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"analytics' database failed: {error!r}") from error
    finally:
        await database.close()


async def _rebuild_all(database: Database) -> Total:
    total = Total()
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    bar = Progress(
        *columns, TextColumn("{task.fields[days]} days"), console=console, disable=not sys.stderr.isatty()
    )
    with bar:
        task = bar.add_task("users", total=await rebuild.count_users(database), days=0)
        async for computed in rebuild.rebuild_all(database):
            total = _with_user(total, computed)
            bar.update(task, completed=total.users, days=total.days)
    return total


def _with_user(total: Total, computed: Computed) -> Total:
    return replace(
        total,
        users=total.users + 1,
        trades=total.trades + computed.trades,
        days=total.days + computed.days,
        changed=total.changed + computed.changed,
    )


def _settings(worker_dsn: str, queue_dsn: str) -> AnalyticsSettings:
    # The pool of the app role is never opened, as no requests are served.
    dsns = {"postgres_app_dsn": worker_dsn, "postgres_worker_dsn": worker_dsn, "postgres_queue_dsn": queue_dsn}
    return AnalyticsSettings.model_validate({**dsns, "kafka_bootstrap": ""})
