"""`tradefleet audit`: verify that the activity logs are unchanged."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click
from rich.console import Console
from rich.progress import Progress

from cli.options import OneLineCommand
from cli.target import find_dsn, home_option
from services.auth.operations.audit import LogFault, find_scope, verify
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.settings import ServiceSettings
from stack.failure import BadInput

MAX_SHOWN = 1_000
FAULT_TEXTS = {
    "CHANGED": "row {seq} was changed",
    "MOVED": "row {seq} was replaced by another row",
    "MISSING": "row {seq} was removed",
    "ADDED": "row {seq} was added from outside",
    "HEAD_MISSING": "the record of the log's end (row {seq}) is missing",
    "HEAD_CHANGED": "the record of the log's end does not match row {seq}",
}


@dataclass
class Verified:
    """`found` has the first MAX_SHOWN faults; `faults` counts all."""

    rows: int
    users: int
    faults: int
    found: Sequence[LogFault]


@click.group()
def audit() -> None:
    """Verify the activity logs."""


@audit.command("verify", cls=OneLineCommand)
@click.option("--email", help="Verify this user only.")
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify_command(email: str | None, home: Path | None, as_json: bool) -> None:
    """Find rows that were changed, removed, moved or added. Exit code 1 if there are any."""
    done = asyncio.run(_verify(auth_dsn(home), email))
    if as_json:
        shown = {"rows": done.rows, "users": done.users, "faults": done.faults}
        click.echo(json.dumps({**shown, "found": [_as_json(one) for one in done.found]}))
    else:
        for one in done.found:
            click.echo(_fault_text(one))
        if done.faults > len(done.found):
            click.echo(f"and {done.faults - len(done.found):,} more")
        verdict = f"{done.faults:,} faults" if done.faults else "unchanged"
        click.echo(f"{done.rows:,} rows of {done.users:,} users: {verdict}")
    if done.faults:
        raise SystemExit(1)


def auth_dsn(home: Path | None) -> str:
    """Return the DSN of auth's worker role. Raises BadInput."""
    return find_dsn(home, "POSTGRES_WORKER_DSN", lambda state: state.auth)


async def _verify(dsn: str, email: str | None) -> Verified:
    """Verify with auth's worker role, which cannot change rows. Raises BadInput."""
    database = await Database.connect(_settings(dsn))
    try:
        scope = await find_scope(database, email)
        if scope is None:
            raise BadInput(f"no user is registered as {email}")
        done, found = Verified(0, 0, 0, []), list[LogFault]()
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
            task = bar.add_task("rows", total=scope.entries)
            async for part in verify(database, scope):
                bar.advance(task, part.rows)
                done.rows, done.users = done.rows + part.rows, done.users + part.chains
                done.faults += len(part.faults)
                found += part.faults[: MAX_SHOWN - len(found)]
        done.found = found
        return done
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"auth's database does not answer: {error!r}") from error
    finally:
        await database.close()


def _settings(dsn: str) -> ServiceSettings:
    # Only one pool is used; the others are never opened.
    dsns = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), dsn)
    return ServiceSettings.model_validate({"service": "auth", "kafka_bootstrap": "", **dsns})


def _as_json(one: LogFault) -> dict[str, object]:
    user = str(one.public_id) if one.public_id else None
    return {"user_id": user, "user": one.fault.user_id, "row": one.fault.seq, "harm": one.fault.kind}


def _fault_text(one: LogFault) -> str:
    who = one.public_id or f"number {one.fault.user_id} (deleted)"
    return f"user {who}: {FAULT_TEXTS[one.fault.kind].format(seq=one.fault.seq)}"
