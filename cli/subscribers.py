"""`tradefleet topics subscriber` and `topics password`: external subscribers and passwords of users."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from cli.broker import broker_options, run_on_broker
from cli.options import OneLineCommand
from cli.tables import show
from cli.target import Target, find_target
from stack.acls import principal
from stack.subscribers import add_subscriber, change_password, list_subscribers, remove_subscriber


@click.group()
def subscriber() -> None:
    """Manage read-only users for external programs."""


@subscriber.command("add", cls=OneLineCommand)
@click.argument("name")
@click.option("--topics", "names", required=True, help="Topics that it may read, comma-separated.")
@click.option("--group", default=None, help="Prefix of its consumer groups; default: its name.")
@broker_options
def add_command(
    name: str, names: str, group: str | None, bootstrap: str, prefix: str | None, home: Path | None, as_json: bool
) -> None:
    """Create a user that may read these topics, and print its password once."""
    at = find_target(home, bootstrap, prefix)
    wanted = [topic.strip() for topic in names.split(",") if topic.strip()]
    group = name if group is None else group
    password = run_on_broker(at, add_subscriber(at.broker, at.prefix, name, wanted, group))
    _show_login(at, name, password, as_json)
    if not as_json:
        click.echo(f"consumer groups: {at.prefix}{group}…")


@subscriber.command("remove", cls=OneLineCommand)
@click.argument("name")
@broker_options
def remove_command(name: str, bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """Remove a subscriber's access rights and its user."""
    at = find_target(home, bootstrap, prefix)
    run_on_broker(at, remove_subscriber(at.broker, at.prefix, name))
    click.echo(json.dumps({"removed": name}) if as_json else f"removed {name}")


@subscriber.command("list", cls=OneLineCommand)
@broker_options
def list_command(bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """List all users except services that may read one of the topics."""
    at = find_target(home, bootstrap, prefix)
    found = run_on_broker(at, list_subscribers(at.broker, at.prefix))
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
@broker_options
def password_command(name: str, bootstrap: str, prefix: str | None, home: Path | None, as_json: bool) -> None:
    """Set a new password for a service or a subscriber, and print it once."""
    at = find_target(home, bootstrap, prefix)
    _show_login(at, name, run_on_broker(at, change_password(at.broker, at.prefix, name)), as_json)


def _show_login(at: Target, name: str, password: str, as_json: bool) -> None:
    """Print the login as client settings."""
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
