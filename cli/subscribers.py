"""`tradefleet topics subscriber` and `topics password`: who may read the topics from outside."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from cli.broker import ask, where_options
from cli.options import OneLineCommand
from cli.tables import show
from cli.target import Whereabouts, find
from stack.acls import principal
from stack.subscribers import add_subscriber, change_password, list_subscribers, remove_subscriber


@click.group()
def subscriber() -> None:
    """Read-only users for programs outside the platform."""


@subscriber.command("add", cls=OneLineCommand)
@click.argument("name")
@click.option("--topics", "names", required=True, help="Those it may read, separated by commas.")
@click.option("--group", default=None, help="What its consumer groups' names begin with; its own name by default.")
@where_options
def add_command(
    name: str, names: str, group: str | None, bootstrap: str, prefix: str | None, home: Path | None, as_json: bool
) -> None:
    """Make a user that may read these topics, and print its password, once."""
    at = find(home, bootstrap, prefix)
    wanted = [topic.strip() for topic in names.split(",") if topic.strip()]
    group = name if group is None else group
    password = ask(at, add_subscriber(at.broker, at.prefix, name, wanted, group))
    _show_login(at, name, password, as_json)
    if not as_json:
        click.echo(f"consumer groups: {at.prefix}{group}…")


@subscriber.command("remove", cls=OneLineCommand)
@click.argument("name")
@where_options
def remove_command(name: str, bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """Take a subscriber's rights and its user away."""
    at = find(home, bootstrap, prefix)
    ask(at, remove_subscriber(at.broker, at.prefix, name))
    click.echo(json.dumps({"removed": name}) if as_json else f"removed {name}")


@subscriber.command("list", cls=OneLineCommand)
@where_options
def list_command(bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """Everybody but the services who may read one of the topics."""
    at = find(home, bootstrap, prefix)
    found = ask(at, list_subscribers(at.broker, at.prefix))
    if as_json:
        click.echo(json.dumps({"subscribers": [asdict(each) for each in found]}))
        return
    if not found:
        click.echo("no subscribers")
        return
    table = Table("user", "topics", "consumer groups")
    for each in found:
        table.add_row(each.user, ", ".join(each.topics), ", ".join(f"{group}…" for group in each.groups))
    show(table)


@click.command("password", cls=OneLineCommand)
@click.argument("name")
@where_options
def password_command(name: str, bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """Give a service or a subscriber a new password, and print it, once."""
    at = find(home, bootstrap, prefix)
    _show_login(at, name, ask(at, change_password(at.broker, at.prefix, name)), as_json)


def _show_login(at: Whereabouts, name: str, password: str, as_json: bool) -> None:
    """As the settings of a client."""
    protocol = at.broker.protocol if at.broker.has_principal else "SASL_SSL"
    login = {
        "KAFKA_BOOTSTRAP": at.broker.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": protocol,
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": principal(name, at.prefix),
        "KAFKA_SASL_PASSWORD": password,
    }
    if as_json:
        click.echo(json.dumps(login))
        return
    for setting, value in login.items():
        click.echo(f"{setting}={value}")
