"""`tradefleet dlq`: show, replay and drop events that failed."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import click
from rich.table import Table

from cli.dead_letters.format import dead_letter_json, dead_letter_lines
from cli.dead_letters.ids import EntryId, FoundEntry, find_all, id_option
from cli.dead_letters.replay import EntryResult, drop_found, replay_found, wait_until_handled
from cli.dead_letters.rows import NEEDS_OPERATOR, OPEN, DeadLetter, Entry, Filter, list_entries, read_dead_letter
from cli.options import OneLineCommand
from cli.queues import open_queues
from cli.tables import plain, show
from cli.target import find_target, home_option, service_option
from shared.chassis.events.parked_rows import State
from shared.contracts.types import instant_text
from stack.failure import BadInput, CheckFailed

MAX_AT_ONCE = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
ids_argument = click.argument(
    "ids", metavar="ID...", nargs=-1, callback=lambda _, __, ids: [id_option(each) for each in ids]
)


@click.group()
def dlq() -> None:
    """Show, replay and drop events that failed.

    An ID is one shown by `dlq list`, such as `billing:heard:12`, or an event id from the logs.
    """


@dlq.command("list", cls=OneLineCommand)
@service_option
@click.option("--topic", help="Only this topic.")
@click.option("--key", help="Only this key, usually a user id.")
@click.option("--state", "states", multiple=True, type=click.Choice(get_args(State)), help="Repeatable.")
@click.option(
    "--limit", default=100, type=click.IntRange(1, MAX_AT_ONCE), show_default=True, help="Maximum per service."
)
@home_option
@json_option
def list_command(
    services: tuple[str, ...],
    topic: str | None,
    key: str | None,
    states: tuple[State, ...],
    limit: int,
    home: Path | None,
    as_json: bool,
) -> None:
    """List failed events with their reason; without --state, all except dropped ones."""
    which = Filter(topic, key, states or OPEN)
    found, total = asyncio.run(_list(home, services, which, limit))
    if as_json:
        click.echo(json.dumps({"events": [_shown(each) for each in found], "total": total}))
        return
    if not found:
        click.echo("no failed events")
        return
    _show(found)
    if total > len(found):
        click.echo(f"and {total - len(found)} more: see --limit, --service, --topic, --key, --state")


async def _list(
    home: Path | None, services: tuple[str, ...], which: Filter, limit: int
) -> tuple[list[FoundEntry], int]:
    found: list[FoundEntry] = []
    total = 0
    async with open_queues(find_target(home).of(services)) as queues:
        for service in queues.services:
            async with queues.of(service) as connection:
                entries, count = await list_entries(connection, which, limit)
            found += [FoundEntry(EntryId(service, each.kind, each.id), each) for each in entries]
            total += count
    return found, total


@dlq.command("show", cls=OneLineCommand)
@click.argument("wanted", metavar="ID", callback=lambda _, __, text: id_option(text))
@service_option
@home_option
@json_option
def show_command(wanted: EntryId, services: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Show one event with its headers and body, and the events that wait behind it."""
    letters = asyncio.run(_letters(home, services, wanted))
    if not letters:
        raise CheckFailed(f"{wanted} was not found: it has been handled, or never existed")
    if as_json:
        shown = [{**_shown(found), **dead_letter_json(letter)} for found, letter in letters]
        click.echo(json.dumps({"events": shown}))
        return
    for found, letter in letters:
        _show([found])
        click.echo("\n".join(dead_letter_lines(letter)))


async def _letters(
    home: Path | None, services: tuple[str, ...], wanted: EntryId
) -> list[tuple[FoundEntry, DeadLetter]]:
    async with open_queues(find_target(home).of(services or _named([wanted]))) as queues:
        letters = []
        for found in await find_all(queues, [wanted]):
            if found.entry is None:
                continue
            async with queues.of(found.id.service) as connection:
                if letter := await read_dead_letter(connection, found.entry):
                    letters.append((found, letter))
        return letters


@dlq.command("replay", cls=OneLineCommand)
@ids_argument
@click.option("--all", "everything", is_flag=True, help="All halted and dead events of --topic.")
@click.option("--topic", help="Topic for --all.")
@service_option
@click.option("--wait", "wait_s", type=click.FloatRange(0, 3600), help="Seconds to wait until all are handled.")
@home_option
@json_option
def replay_command(
    ids: Sequence[EntryId],
    everything: bool,
    topic: str | None,
    services: tuple[str, ...],
    wait_s: float | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Handle or send events again. Repeating it has no further effect."""
    if everything != bool(topic) or everything == bool(ids):
        raise BadInput("give IDs to replay, or --all with --topic")
    done = asyncio.run(_replay(home, services, ids, topic, wait_s))
    _print_results(done, as_json)


async def _replay(
    home: Path | None, services: tuple[str, ...], ids: Sequence[EntryId], topic: str | None, wait_s: float | None
) -> list[EntryResult]:
    async with open_queues(find_target(home).of(services or _named(ids))) as queues:
        if topic is None:
            found = await find_all(queues, ids)
        else:
            found, _ = await _list(home, services, Filter(topic, states=NEEDS_OPERATOR), MAX_AT_ONCE)
        done = await replay_found(queues, found)
        return done if wait_s is None else await wait_until_handled(queues, done, wait_s)


@dlq.command("drop", cls=OneLineCommand)
@ids_argument
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@service_option
@home_option
@json_option
def drop_command(
    ids: Sequence[EntryId], yes: bool, services: tuple[str, ...], home: Path | None, as_json: bool
) -> None:
    """Discard events permanently: their keys continue without them."""
    if not ids:
        raise BadInput("give IDs to drop")
    if as_json and not yes:
        raise BadInput("--json does not ask for confirmation: add --yes")
    dsns = find_target(home).of(services or _named(ids))
    _print_results(asyncio.run(_drop(dsns, ids, yes)), as_json)


async def _drop(dsns: Mapping[str, str], ids: Sequence[EntryId], yes: bool) -> list[EntryResult]:
    async with open_queues(dsns) as queues:
        found = await find_all(queues, ids)
        present = [each for each in found if each.entry is not None]
        if present and not yes:
            _confirm(present)
        return await drop_found(queues, found)


def _confirm(found: Sequence[FoundEntry]) -> None:
    """Ask for confirmation. Raises CheckFailed if declined, BadInput if there is no answer."""
    _show(found)
    try:
        agreed = click.confirm(f"Drop {len(found)} events? They will never be handled")
    except click.Abort:
        raise BadInput("no answer: use --yes") from None
    if not agreed:
        raise CheckFailed("nothing was dropped")


def _named(ids: Sequence[EntryId]) -> tuple[str, ...]:
    """Return the services in the IDs; empty, meaning all, if an ID has no service."""
    services = {each.service for each in ids}
    return () if "" in services else tuple(services)


def _print_results(done: Sequence[EntryResult], as_json: bool) -> None:
    """Print the results. Exit code 1 if an event was not found, failed again or still waits."""
    if as_json:
        click.echo(
            json.dumps({"done": [{"id": str(d.found.id), "outcome": d.outcome, "why": d.why} for d in done]})
        )
    elif not done:
        click.echo("nothing to do")
    else:
        table = Table("id", "topic", "key", "outcome", "why")
        for each in done:
            entry = each.found.entry
            where = (entry.topic, entry.key) if entry else ("", "")
            table.add_row(*map(plain, (each.found.id, *where, each.outcome, each.why)))
        show(table)
    if any(each.failed for each in done):
        raise SystemExit(1)


def _show(found: Sequence[FoundEntry]) -> None:
    table = Table("id", "topic", "key", "event id", "state", "reason", "attempts", "since")
    for each in found:
        entry = _entry(each)
        since = instant_text(entry.since)
        cells = (each.id, entry.topic, entry.key, entry.event_id, entry.state, entry.reason, entry.attempts, since)
        table.add_row(*map(plain, cells))
    show(table)


def _shown(found: FoundEntry) -> dict[str, object]:
    entry = _entry(found)
    return {
        "id": str(found.id),
        "service": found.id.service,
        "kind": entry.kind,
        "topic": entry.topic,
        "key": entry.key,
        "event_id": str(entry.event_id),
        "state": entry.state,
        "reason": entry.reason,
        "attempts": entry.attempts,
        "since": instant_text(entry.since),
    }


def _entry(found: FoundEntry) -> Entry:
    assert found.entry is not None, "only existing entries are shown"
    return found.entry
