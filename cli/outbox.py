"""`tradefleet outbox`: show unsent events, and replay published events to an emptied broker."""

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

from cli.options import BadOption, OneLineCommand, quoted
from cli.outbox_rows import INBOX_RETENTION, OutboxStatus, mark_unsent, read_status, record_broker
from cli.queues import Queues, fetch_cluster_id, open_queues
from cli.tables import show
from cli.target import Target, find_target, home_option, service_option
from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import BUCKETS
from shared.contracts.types import Instant, instant_text
from stack.failure import BadInput

_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


@dataclass(frozen=True)
class ServiceReplay:
    service: str
    rows: int
    replays: int


@click.group()
def outbox() -> None:
    """Show unsent events, and send published ones again."""


@outbox.command("status", cls=OneLineCommand)
@service_option
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status_command(services: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Show unsent events and their age, and whether the broker is the known one. Exit code 1 if it is not."""
    at = find_target(home)
    cluster_id, found = asyncio.run(_read(at, services))
    same = {service: _is_same_cluster(status, cluster_id) for service, status in found.items()}
    if as_json:
        shown = [{"service": name, **_shown(status), "same": same[name]} for name, status in found.items()]
        click.echo(json.dumps({"cluster_id": cluster_id, "services": shown}))
    else:
        _show_status(at, cluster_id, found, same)
    if cluster_id is None or False in same.values():
        raise SystemExit(1)


async def _read(at: Target, services: tuple[str, ...]) -> tuple[str | None, dict[str, OutboxStatus]]:
    broker = at.broker
    async with open_queues(at.of(services)) as queues:
        found = {}
        for service in queues.services:
            async with queues.of(service) as connection:
                found[service] = await read_status(connection)
    try:
        return await fetch_cluster_id(broker), found
    except BadInput:
        return None, found


def _is_same_cluster(status: OutboxStatus, cluster_id: str | None) -> bool | None:
    """Compare the cluster ids; None if either is unknown."""
    return None if cluster_id is None or status.cluster_id is None else status.cluster_id == cluster_id


def _shown(status: OutboxStatus) -> dict[str, object]:
    oldest = status.oldest_waiting
    return {**asdict(status), "oldest_waiting": instant_text(oldest) if oldest else None}


def _show_status(
    at: Target, cluster_id: str | None, found: dict[str, OutboxStatus], same: dict[str, bool | None]
) -> None:
    table = Table("service", "waiting", "oldest", "dead", "sent last hour", "broker")
    broker_texts = {True: "the known one", False: "[red]another one[/]", None: "unknown"}
    for service, status in found.items():
        oldest = f"{(utc_now() - status.oldest_waiting).total_seconds():.0f} s" if status.oldest_waiting else ""
        counts = (str(status.waiting), oldest, str(status.dead), str(status.sent_last_hour))
        table.add_row(service, *counts, broker_texts[same[service]])
    show(table)
    if cluster_id is None:
        click.echo(f"Kafka at {at.kafka} does not answer")
    elif False in same.values():
        click.echo(f"nothing is sent to cluster {cluster_id} before `tradefleet outbox replay --since …`")


@outbox.command("replay", cls=OneLineCommand)
@click.option("--since", required=True, help="A time with offset, or an age: 45m, 2h, 3d.")
@service_option
@home_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def replay_command(since: str, services: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Send events published since then again; consumers then read all topics from the beginning."""
    start = since_option(since, utc_now())
    at = find_target(home)
    cluster_id, done = asyncio.run(_replay(at, services, start))
    if as_json:
        shown = [asdict(each) for each in done]
        click.echo(json.dumps({"cluster_id": cluster_id, "since": instant_text(start), "services": shown}))
        return
    table = Table("service", "sent again", "replays so far")
    for each in done:
        table.add_row(each.service, str(each.rows), str(each.replays))
    show(table)
    total = sum(each.rows for each in done)
    click.echo(f"{total} events since {instant_text(start)} will be sent to cluster {cluster_id}")


async def _replay(at: Target, services: tuple[str, ...], since: datetime) -> tuple[str, list[ServiceReplay]]:
    dsns = at.of(services)
    cluster_id = await fetch_cluster_id(at.broker)
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    async with open_queues(dsns) as queues:
        with bar:
            return cluster_id, [
                await _replay_service(queues, service, cluster_id, since, bar) for service in queues.services
            ]


async def _replay_service(
    queues: Queues, service: str, cluster_id: str, since: datetime, bar: Progress
) -> ServiceReplay:
    """Mark bucket by bucket unsent; on a new broker, relays send nothing before the last bucket is marked."""
    rows = 0
    for bucket in bar.track(range(BUCKETS), description=service):
        async with queues.of(service) as connection:
            rows += await mark_unsent(connection, bucket, since)
    async with queues.of(service) as connection:
        replays = await record_broker(connection, cluster_id)
    return ServiceReplay(service, rows, replays)


def since_option(text: str, now: datetime) -> datetime:
    """Parse a past time within the retention of the inboxes. Raises BadOption."""
    if ago := _AGO.fullmatch(text):
        moment = now - min(timedelta(**{_UNITS[ago[2]]: int(ago[1])}), 2 * INBOX_RETENTION)
    else:
        try:
            moment = _INSTANT.validate_python(text)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise BadOption(f"--since: {quoted(text)} {why}; or use an age: 45m, 2h, 3d") from error
    if moment > now:
        raise BadOption(f"--since: {quoted(text)} is in the future")
    if now - moment > INBOX_RETENTION:
        raise BadOption(
            f"--since: {quoted(text)} is older than the {INBOX_RETENTION.days} days for which consumers remember "
            "handled events: they would be handled twice"
        )
    return moment
