"""`tradefleet keys`: rotate the keys that encrypt the exchange keys of tenants."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import asyncpg
import click
from filelock import FileLock, Timeout
from rich.table import Table

from cli.options import OneLineCommand, quoted
from cli.progress import OnProgress, progress_bar
from cli.tables import plain, show
from cli.target import home_option
from services.trading.custody.key_ring import FileKeyRing, Ring, made_at, parse_ring
from services.trading.custody.rewrap import count_accounts, count_by_key, rewrap
from services.trading.errors import KeyUnavailable
from shared.chassis.clock import utc_now
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.settings import ServiceSettings
from stack.failure import BadInput
from stack.home import DEFAULT_HOME, read_state
from stack.private_files import write_private

MOST_PASSES = 10  # rows that a request stored with the earlier key meanwhile are found by the next pass
KEPT_FOR_S = 600.0  # a request that began before the rotation may still store a row with the earlier key

T = TypeVar("T")


@dataclass(frozen=True)
class Custodian:
    """The file of the key ring, and the DSNs of trading's worker and queue roles."""

    file: Path
    worker_dsn: str
    queue_dsn: str


@dataclass
class Rotation:
    key_id: str
    is_new: bool = False
    accounts: int = 0
    rewrapped: int = 0
    unreadable: list[str] = field(default_factory=list)  # exchange accounts


@click.group()
def keys() -> None:
    """Rotate the keys that encrypt exchange keys."""


@keys.command("rotate", cls=OneLineCommand)
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def rotate_command(home: Path | None, as_json: bool) -> None:
    """Make a new key and wrap every exchange key with it; the services continue meanwhile.

    After an interruption run it again: it finishes that rotation and makes no other key. Exit code 1 if a stored
    key cannot be decrypted; its tenant has to replace it.
    """
    at = find_custodian(home)
    with locked(at.file), progress_bar("exchange keys") as on_progress:
        done = run(at, lambda database: rotate(database, at.file, on_progress))
    if as_json:
        click.echo(json.dumps(vars(done)))
    else:
        what = "a new key" if done.is_new else "the rotation that was interrupted"
        click.echo(f"{done.key_id}: {what}, {done.rewrapped:,} of {done.accounts:,} exchange keys wrapped again")
        for account in done.unreadable:
            click.echo(f"cannot be decrypted: exchange account {account}")
    if done.unreadable:
        raise SystemExit(1)


@keys.command("status", cls=OneLineCommand)
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status_command(home: Path | None, as_json: bool) -> None:
    """Show the keys of the ring, and how many exchange keys each encrypts."""
    at = find_custodian(home)
    ring = read_ring(at.file)
    counts = run(at, count_by_key)
    found = [
        {
            "key_id": name,
            "current": name == ring.current,
            "missing": name not in ring.keys,
            "rows": counts.get(name, 0),
        }
        for name in [*ring.keys, *sorted(counts.keys() - ring.keys.keys())]
    ]
    if as_json:
        click.echo(json.dumps({"keys": found}))
    else:
        table = Table("key", "exchange keys", "")
        for each in found:
            note = "current" if each["current"] else "MISSING FROM THE RING" if each["missing"] else ""
            table.add_row(plain(each["key_id"]), f"{each['rows']:,}", note)
        show(table)
    if any(each["missing"] for each in found):
        raise SystemExit(1)


@keys.command("remove", cls=OneLineCommand)
@click.argument("key_id")
@home_option
def remove_command(key_id: str, home: Path | None) -> None:
    """Remove a key that encrypts nothing any more. Backups of the database that need it become unreadable."""
    at = find_custodian(home)
    with locked(at.file):
        ring = read_ring(at.file)
        if key_id not in ring.keys:
            raise BadInput(f"the ring has no key {quoted(key_id)}")
        if key_id == ring.current:
            raise BadInput("it is the current key: rotate first")
        if (utc_now() - made_at(ring.current)).total_seconds() < KEPT_FOR_S:
            raise BadInput("the current key is less than ten minutes old: a request may still use the earlier one")
        if used := run(at, count_by_key).get(key_id, 0):
            raise BadInput(f"it encrypts {used:,} exchange keys: rotate first")
        write_private(at.file, ring.without(key_id).to_json(), durable=True)
    click.echo(f"{key_id}: removed")


async def rotate(database: Database, file: Path, on_progress: OnProgress) -> Rotation:
    """Finish an interrupted rotation, or else make a new key and wrap every data key with it.

    The new key is on disk before any row needs it. Raises KeyUnavailable.
    """
    done = await _rewrap_all(database, file, on_progress)
    if done.rewrapped == 0:
        write_private(file, read_ring(file).with_new_key(utc_now()).to_json(), durable=True)
        done = await _rewrap_all(database, file, on_progress)
        done.is_new = True
    return done


async def _rewrap_all(database: Database, file: Path, on_progress: OnProgress) -> Rotation:
    ring = FileKeyRing(file)
    done = Rotation(await ring.current_key_id())
    for _ in range(MOST_PASSES):
        total = await count_accounts(database)
        done.accounts, done.unreadable, before = 0, [], done.rewrapped
        async for part in rewrap(database, ring):
            done.accounts += part.accounts
            done.rewrapped += part.rewrapped
            done.unreadable += [str(row.exchange_account_id) for row in part.unreadable]
            on_progress(done.accounts, max(total, done.accounts))
        if done.rewrapped == before:
            break
    return done


def find_custodian(home: Path | None) -> Custodian:
    """Find the ring and the database: in `home` if given, else in the environment, else in the home of `up`.

    Raises BadInput.
    """
    names = ("EXCHANGE_KEYS_FILE", "POSTGRES_WORKER_DSN", "POSTGRES_QUEUE_DSN")
    if home is None and "EXCHANGE_KEYS_FILE" in os.environ:
        if missing := [name for name in names if not os.environ.get(name)]:
            raise BadInput(f"{missing[0]} is not set")
        file, worker, queue = (os.environ[name] for name in names)
        return Custodian(Path(file), worker, queue)
    home = home or DEFAULT_HOME
    state = read_state(home)
    if state is None or not state.exchange_keys:
        raise BadInput(f"no stack runs in {home}; start one with `tradefleet up`, or set {', '.join(names)}")
    return Custodian(Path(state.exchange_keys), state.candles, state.queues["trading"])


def read_ring(file: Path) -> Ring:
    """Raises BadInput."""
    try:
        return parse_ring(file.read_bytes())
    except KeyUnavailable as error:
        raise BadInput(f"{file}: {error.detail}") from error


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let no other command change the ring. Raises BadInput if one does."""
    try:
        with FileLock(f"{file}.lock", timeout=0, mode=0o600):
            yield
    except Timeout:
        raise BadInput("another command is changing the key ring") from None


def run(at: Custodian, work: Callable[[Database], Coroutine[None, None, T]]) -> T:
    """Run the work on trading's database. Raises BadInput."""

    async def connected() -> T:
        dsns = {"postgres_app_dsn": "", "postgres_worker_dsn": at.worker_dsn, "postgres_queue_dsn": at.queue_dsn}
        settings = ServiceSettings.model_validate({"service": "trading", "kafka_bootstrap": "", **dsns})
        database = await Database.connect(settings)
        try:
            return await work(database)
        except KeyUnavailable as error:
            raise BadInput(error.detail) from error
        except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
            raise BadInput(f"trading's database does not answer: {error!r}") from error
        finally:
            await database.close()

    return asyncio.run(connected())
