"""`tradefleet topics`: topics, ACLs and users that the contracts require on the broker."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from cli.broker import broker_options, run_on_broker
from cli.options import OneLineCommand
from cli.subscribers import password_command, subscriber
from cli.tables import show
from cli.target import find_target
from stack.acl_api import Acl
from stack.grants import Grants, apply_grants, plan_grants
from stack.topics import Plan, TopicChange, apply_topics, plan_topics, topics_of

NO_AUTHORIZER = "this broker has no authorizer: every client may read and write every topic"


@click.group()
def topics() -> None:
    """Manage topics, access rights and subscribers."""


topics.add_command(subscriber)
topics.add_command(password_command)


@topics.command("plan", cls=OneLineCommand)
@broker_options
def plan_command(bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """Show missing and different topics and grants. Exit code 1 if there are any."""
    at = find_target(home, bootstrap, prefix)
    plan = run_on_broker(at, plan_topics(at.broker, topics_of(prefix=at.prefix), at.prefix))
    grants = run_on_broker(at, plan_grants(at.broker, at.prefix))
    if as_json:
        click.echo(json.dumps({**_shown(plan), "grants": _shown_grants(grants)}))
    else:
        _show_plan(plan)
        _show_grants(grants)
    if plan.differences or grants.differ:
        raise SystemExit(1)


@topics.command("apply", cls=OneLineCommand)
@broker_options
@click.option("--partitions", is_flag=True, help="Also change partition counts, which moves keys.")
def apply_command(bootstrap: str, prefix: str | None, home: Path | None, as_json: bool, partitions: bool) -> None:
    """Create missing topics and grants and alter different ones. Exit code 1 if a change was refused."""
    at = find_target(home, bootstrap, prefix)
    operation = apply_topics(at.broker, topics_of(prefix=at.prefix), at.prefix, change_partitions=partitions)
    done = run_on_broker(at, operation)
    grants = run_on_broker(at, apply_grants(at.broker, at.prefix))
    if as_json:
        shown = {"done": [_shown_done(each) for each in done], "grants": _shown_grants(grants)}
        click.echo(json.dumps(shown))
    else:
        _show_done(done, nothing_else=not grants.differ)
        _show_applied_grants(grants)
    if any(each.outcome == "refused" for each in done):
        raise SystemExit(1)


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
        table = Table("topic", "property", "actual", "expected")
        for difference in plan.differences:
            table.add_row(difference.topic, difference.what, difference.has, difference.wanted)
        show(table)
        click.echo(f"{len(plan.differences)} differences: `tradefleet topics apply`")
    else:
        click.echo(f"{len(plan.topics)} topics, nothing to do")
    if plan.unknown:
        click.echo(f"not in any contract, unchanged: {', '.join(plan.unknown)}")


def _shown_grants(grants: Grants) -> dict[str, object]:
    return {
        "authorizer": grants.authorizer,
        "missing": [acl_json(acl) for acl in grants.missing],
        "superfluous": [acl_json(acl) for acl in grants.superfluous],
        "others": [acl_json(acl) for acl in grants.others],
        "users_missing": list(grants.users_missing),
    }


def acl_json(acl: Acl) -> dict[str, str]:
    """Return the ACL as JSON."""
    words = {name: getattr(acl, name).name for name in ("resource", "operation", "pattern", "permission")}
    return {"user": acl.user, "name": acl.name, "host": acl.host, **words}


def _show_grants(grants: Grants) -> None:
    if not grants.authorizer:
        click.echo(NO_AUTHORIZER)
        return
    for acl in grants.missing:
        click.echo(f"missing: {acl}")
    for acl in grants.superfluous:
        click.echo(f"not needed: {acl}")
    for user in grants.users_missing:
        click.echo(f"user {user} is missing: see `tradefleet topics password {user}`")
    for acl in grants.others:
        click.echo(f"not in any contract, unchanged: {acl}")


def _show_applied_grants(grants: Grants) -> None:
    if not grants.authorizer:
        click.echo(NO_AUTHORIZER)
        return
    for acl in grants.missing:
        click.echo(f"granted: {acl}")
    for acl in grants.superfluous:
        click.echo(f"revoked: {acl}")
    for user in grants.users_missing:
        click.echo(f"user {user} is missing: see `tradefleet topics password {user}`")


def _shown_done(done: TopicChange) -> dict[str, str]:
    return {**asdict(done.difference), "outcome": done.outcome, "why": done.why}


def _show_done(done: list[TopicChange], *, nothing_else: bool) -> None:
    if not done:
        if nothing_else:
            click.echo("nothing to do")
        return
    table = Table("topic", "property", "before", "expected", "outcome", "reason")
    for each in done:
        difference = each.difference
        table.add_row(difference.topic, difference.what, difference.has, difference.wanted, each.outcome, each.why)
    show(table)
