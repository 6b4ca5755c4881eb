"""`tradefleet dlq`: events that wait for a person or were given up, and what a person may do with them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import click
from rich.table import Table

from cli.dead_letters.format import letter_lines, letter_shown
from cli.dead_letters.ids import FoundEntry, Id, find_all, id_option
from cli.dead_letters.replay import Done, drop_found, replay_found, wait_for
from cli.dead_letters.rows import FOR_A_PERSON, OPEN, Entry, Filter, Letter, list_entries, read_letter
from cli.failure import BadInput, CheckFailed
from cli.options import OneLineCommand
from cli.queues import open_queues
from cli.tables import plain, show
from cli.target import find, home_option, service_option
from shared.chassis.events.parked_rows import State
from shared.contracts.types import instant_text

MOST_AT_ONCE = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
ids_argument = click.argument(
    "ids", metavar="ID...", nargs=-1, callback=lambda _, __, ids: [id_option(each) for each in ids]
)


@click.group()
def dlq() -> None:
    """Events that wait for a person, or were given up.

    An ID is what `dlq list` shows (billing:heard:12), or an event's id as it stands in logs.
    """


@dlq.command("list", cls=OneLineCommand)
@service_option
@click.option("--topic", help="Of this topic only.")
@click.option("--key", help="Of this key only: mostly a user's id.")
@click.option("--state", "states", multiple=True, type=click.Choice(get_args(State)), help="May be repeated.")
@click.option("--limit", default=100, type=click.IntRange(1, MOST_AT_ONCE), show_default=True, help="Per service.")
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
    """What waits, and why; without --state all but what was dropped."""
    which = Filter(topic, key, states or OPEN)
    found, total = asyncio.run(_list(home, services, which, limit))
    if as_json:
        click.echo(json.dumps({"events": [_shown(each) for each in found], "total": total}))
        return
    if not found:
        click.echo("nothing waits for a person, and nothing was given up")
        return
    _show(found)
    if total > len(found):
        click.echo(f"and {total - len(found)} more: see --limit, --service, --topic, --key, --state")


async def _list(
    home: Path | None, services: tuple[str, ...], which: Filter, limit: int
) -> tuple[list[FoundEntry], int]:
    found: list[FoundEntry] = []
    total = 0
    async with open_queues(find(home).of(services)) as queues:
        for service in queues.services:
            async with queues.of(service) as connection:
                entries, count = await list_entries(connection, which, limit)
            found += [FoundEntry(Id(service, each.kind, each.id), each) for each in entries]
            total += count
    return found, total


@dlq.command("show", cls=OneLineCommand)
@click.argument("wanted", metavar="ID", callback=lambda _, __, text: id_option(text))
@service_option
@home_option
@json_option
def show_command(wanted: Id, services: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """One event with its headers and body, and what waits behind it."""
    letters = asyncio.run(_letters(home, services, wanted))
    if not letters:
        raise CheckFailed(f"{wanted} is not there: it was worked meanwhile, or never was")
    if as_json:
        shown = [{**_shown(found), **letter_shown(letter)} for found, letter in letters]
        click.echo(json.dumps({"events": shown}))
        return
    for found, letter in letters:
        _show([found])
        click.echo("\n".join(letter_lines(letter)))


async def _letters(home: Path | None, services: tuple[str, ...], wanted: Id) -> list[tuple[FoundEntry, Letter]]:
    async with open_queues(find(home).of(services or _named([wanted]))) as queues:
        letters = []
        for found in await find_all(queues, [wanted]):
            if found.entry is None:
                continue
            async with queues.of(found.id.service) as connection:
                if letter := await read_letter(connection, found.entry):
                    letters.append((found, letter))
        return letters


@dlq.command("replay", cls=OneLineCommand)
@ids_argument
@click.option("--all", "everything", is_flag=True, help="Whatever waits for a person or was given up, of --topic.")
@click.option("--topic", help="With --all.")
@service_option
@click.option("--wait", "wait_s", type=click.FloatRange(0, 3600), help="Seconds to wait until each is worked.")
@home_option
@json_option
def replay_command(
    ids: Sequence[Id],
    everything: bool,
    topic: str | None,
    services: tuple[str, ...],
    wait_s: float | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Have events worked, or sent, again. Twice has one effect."""
    if everything != bool(topic) or everything == bool(ids):
        raise BadInput("name the IDs to replay, or --all with the --topic")
    done = asyncio.run(_replay(home, services, ids, topic, wait_s))
    _tell(done, as_json)


async def _replay(
    home: Path | None, services: tuple[str, ...], ids: Sequence[Id], topic: str | None, wait_s: float | None
) -> list[Done]:
    async with open_queues(find(home).of(services or _named(ids))) as queues:
        if topic is None:
            found = await find_all(queues, ids)
        else:
            found, _ = await _list(home, services, Filter(topic, states=FOR_A_PERSON), MOST_AT_ONCE)
        done = await replay_found(queues, found)
        return done if wait_s is None else await wait_for(queues, done, wait_s)


@dlq.command("drop", cls=OneLineCommand)
@ids_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@service_option
@home_option
@json_option
def drop_command(ids: Sequence[Id], yes: bool, services: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Let events go for good: their keys go on without them."""
    if not ids:
        raise BadInput("name the IDs to drop")
    if as_json and not yes:
        raise BadInput("--json asks nothing: say --yes too")
    dsns = find(home).of(services or _named(ids))
    _tell(asyncio.run(_drop(dsns, ids, yes)), as_json)


async def _drop(dsns: Mapping[str, str], ids: Sequence[Id], yes: bool) -> list[Done]:
    async with open_queues(dsns) as queues:
        found = await find_all(queues, ids)
        there = [each for each in found if each.entry is not None]
        if there and not yes:
            _ask(there)
        return await drop_found(queues, found)


def _ask(found: Sequence[FoundEntry]) -> None:
    """Raises CheckFailed for a no, BadInput where nobody answers."""
    _show(found)
    try:
        agreed = click.confirm(f"Drop {len(found)}? What they say will never have its effect")
    except click.Abort:
        raise BadInput("nobody answers: say --yes") from None
    if not agreed:
        raise CheckFailed("nothing was dropped")


def _named(ids: Sequence[Id]) -> tuple[str, ...]:
    """The services that the IDs name; all where one names none."""
    services = {each.service for each in ids}
    return () if "" in services else tuple(services)


def _tell(done: Sequence[Done], as_json: bool) -> None:
    """Exit code 1 where something was not there, or does not work after waiting for it."""
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
    assert found.entry is not None, "only what is there is shown"
    return found.entry
