"""`tradefleet outbox`: what the services have to say, and saying it again to a broker that was emptied."""

import asyncio
import json
import re
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.failure import BadInput
from cli.options import BadOption, OneLineCommand, quoted
from cli.outbox_rows import INBOX_KEPT, OutboxStatus, mark_unsent, note_broker, read_status
from cli.queues import Queues, ask_cluster_id, open_queues
from cli.tables import show
from cli.target import Whereabouts, find, home_option, service_option
from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import BUCKETS
from shared.contracts.types import Instant, instant_text

_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


@dataclass(frozen=True)
class Replayed:
    service: str
    rows: int
    replays: int


@click.group()
def outbox() -> None:
    """What the services have to say."""


@outbox.command("status", cls=OneLineCommand)
@service_option
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status_command(services: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """How much waits and how long, and whether the broker is the known one. Exit code 1 if it is not."""
    at = find(home)
    cluster_id, found = asyncio.run(_read(at, services))
    same = {service: _same(status, cluster_id) for service, status in found.items()}
    if as_json:
        shown = [{"service": name, **_shown(status), "same": same[name]} for name, status in found.items()]
        click.echo(json.dumps({"cluster_id": cluster_id, "services": shown}))
    else:
        _show_status(at, cluster_id, found, same)
    if cluster_id is None or False in same.values():
        raise SystemExit(1)


async def _read(at: Whereabouts, services: tuple[str, ...]) -> tuple[str | None, dict[str, OutboxStatus]]:
    broker = at.broker
    async with open_queues(at.of(services)) as queues:
        found = {}
        for service in queues.services:
            async with queues.of(service) as connection:
                found[service] = await read_status(connection)
    try:
        return await ask_cluster_id(broker), found
    except BadInput:
        return None, found


def _same(status: OutboxStatus, cluster_id: str | None) -> bool | None:
    """None where one of the two is not known."""
    return None if cluster_id is None or status.cluster_id is None else status.cluster_id == cluster_id


def _shown(status: OutboxStatus) -> dict[str, object]:
    oldest = status.oldest_waiting
    return {**asdict(status), "oldest_waiting": instant_text(oldest) if oldest else None}


def _show_status(
    at: Whereabouts, cluster_id: str | None, found: dict[str, OutboxStatus], same: dict[str, bool | None]
) -> None:
    table = Table("service", "waiting", "oldest", "dead", "sent last hour", "broker")
    words = {True: "the known one", False: "[red]another one[/]", None: "not known"}
    for service, status in found.items():
        oldest = f"{(utc_now() - status.oldest_waiting).total_seconds():.0f} s" if status.oldest_waiting else ""
        counts = (str(status.waiting), oldest, str(status.dead), str(status.sent_last_hour))
        table.add_row(service, *counts, words[same[service]])
    show(table)
    if cluster_id is None:
        click.echo(f"Kafka at {at.kafka} does not answer")
    elif False in same.values():
        click.echo(f"cluster {cluster_id} gets nothing before `tradefleet outbox replay --since …`")


@outbox.command("replay", cls=OneLineCommand)
@click.option("--since", required=True, help="A time with its offset, or how long ago: 45m, 2h, 3d.")
@service_option
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def replay_command(since: str, services: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Send again what was said since then, and have our consumers read from the beginning."""
    moment = since_option(since, utc_now())
    at = find(home)
    cluster_id, done = asyncio.run(_replay(at, services, moment))
    if as_json:
        shown = [asdict(each) for each in done]
        click.echo(json.dumps({"cluster_id": cluster_id, "since": instant_text(moment), "services": shown}))
        return
    table = Table("service", "sent again", "replays so far")
    for each in done:
        table.add_row(each.service, str(each.rows), str(each.replays))
    show(table)
    total = sum(each.rows for each in done)
    click.echo(f"{total} events since {instant_text(moment)} go to cluster {cluster_id}")


async def _replay(at: Whereabouts, services: tuple[str, ...], since: datetime) -> tuple[str, list[Replayed]]:
    dsns = at.of(services)
    cluster_id = await ask_cluster_id(at.broker)
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    async with open_queues(dsns) as queues:
        with bar:
            return cluster_id, [
                await _replay_service(queues, service, cluster_id, since, bar) for service in queues.services
            ]


async def _replay_service(
    queues: Queues, service: str, cluster_id: str, since: datetime, bar: Progress
) -> Replayed:
    """Bucket by bucket; relays wait for the last of them if the broker is another one."""
    rows = 0
    for bucket in bar.track(range(BUCKETS), description=service):
        async with queues.of(service) as connection:
            rows += await mark_unsent(connection, bucket, since)
    async with queues.of(service) as connection:
        replays = await note_broker(connection, cluster_id)
    return Replayed(service, rows, replays)


def since_option(text: str, now: datetime) -> datetime:
    """A time that has been, no longer ago than the inboxes remember."""
    if ago := _AGO.fullmatch(text):
        moment = now - min(timedelta(**{_UNITS[ago[2]]: int(ago[1])}), 2 * INBOX_KEPT)
    else:
        try:
            moment = _INSTANT.validate_python(text)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise BadOption(f"--since: {quoted(text)} {why}; or say how long ago: 45m, 2h, 3d") from error
    if moment > now:
        raise BadOption(f"--since: {quoted(text)} has not been yet")
    if now - moment > INBOX_KEPT:
        raise BadOption(
            f"--since: {quoted(text)} is longer ago than the {INBOX_KEPT.days} days that consumers remember what "
            "they have worked: it would be worked twice"
        )
    return moment
