"""`tradefleet topics`: what the contracts want of the broker, and making it so."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
from aiokafka.errors import KafkaError
from rich.table import Table

from cli.failure import BadInput
from cli.options import OneLineCommand
from cli.stack.topics import Done, Plan, apply_topics, plan_topics, topics_of
from cli.tables import show
from cli.whereabouts import Whereabouts, find, home_option

PATIENCE_S = 60.0

T = TypeVar("T")


def _where(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        home_option,
        click.option("--prefix", default=None, help="Before every topic's name, where a broker is shared."),
        click.option("--bootstrap", default="", help="The broker's address."),
    ):
        command = option(command)
    return command


@click.group()
def topics() -> None:
    """The topics of the broker."""


@topics.command("plan", cls=OneLineCommand)
@_where
def plan_command(bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """Say what is missing or different. Exit code 1 if something is."""
    at = find(home, bootstrap, prefix)
    plan = _ask(at, plan_topics(at.bootstrap, topics_of(prefix=at.prefix), at.prefix))
    if as_json:
        click.echo(json.dumps(_shown(plan)))
    else:
        _show_plan(plan)
    if plan.differences:
        raise SystemExit(1)


@topics.command("apply", cls=OneLineCommand)
@_where
@click.option("--partitions", is_flag=True, help="Change numbers of partitions too, which moves keys.")
def apply_command(bootstrap: str, prefix: str | None, home: Path | None, as_json: bool, partitions: bool) -> None:
    """Make what is missing and alter what is different. Exit code 1 if something had to be refused."""
    at = find(home, bootstrap, prefix)
    work = apply_topics(at.bootstrap, topics_of(prefix=at.prefix), at.prefix, change_partitions=partitions)
    done = _ask(at, work)
    if as_json:
        click.echo(json.dumps({"done": [_shown_done(each) for each in done]}))
    else:
        _show_done(done)
    if any(each.outcome == "refused" for each in done):
        raise SystemExit(1)


def _ask(at: Whereabouts, question: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE_S):
            return await question

    try:
        return asyncio.run(bounded())
    except (KafkaError, TimeoutError, OSError) as error:
        raise BadInput(f"Kafka at {at.kafka} does not do it: {error!r}") from error


def _shown(plan: Plan) -> dict[str, object]:
    return {
        "topics": [
            {"name": topic.name, "partitions": topic.partitions, "settings": dict(topic.settings)}
            for topic in plan.topics
        ],
        "differences": [asdict(difference) for difference in plan.differences],
        "unknown": list(plan.unknown),
    }


def _show_plan(plan: Plan) -> None:
    if plan.differences:
        table = Table("topic", "what", "has", "should be")
        for difference in plan.differences:
            table.add_row(difference.topic, difference.what, difference.has, difference.wanted)
        show(table)
        click.echo(f"{len(plan.differences)} differences: `tradefleet topics apply`")
    else:
        click.echo(f"{len(plan.topics)} topics, nothing to do")
    if plan.unknown:
        click.echo(f"of no contract, left alone: {', '.join(plan.unknown)}")


def _shown_done(done: Done) -> dict[str, str]:
    return {**asdict(done.difference), "outcome": done.outcome, "why": done.why}


def _show_done(done: list[Done]) -> None:
    if not done:
        click.echo("nothing to do")
        return
    table = Table("topic", "what", "had", "should be", "done", "why not")
    for each in done:
        difference = each.difference
        table.add_row(difference.topic, difference.what, difference.has, difference.wanted, each.outcome, each.why)
    show(table)
