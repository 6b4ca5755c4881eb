"""`tradefleet kill-switch`: stop entries of the platform, of a symbol, or of a tenant, at once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import asyncpg
import click

from cli.options import BadOption, OneLineCommand
from cli.plans import owner_dsn
from cli.target import home_option
from services.trading.operations import platform_kill_switch
from services.trading.operations.platform_kill_switch import Scope, UnknownTenant
from services.trading.queries.kill_switches import ActiveSwitch
from services.trading.settings import TradingSettings
from shared.chassis.clock import utc_now
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.contracts.types import instant_text
from stack.failure import BadInput

T = TypeVar("T")

symbol_option = click.option("--symbol", default=None, help="Only sessions of this symbol.")
tenant_option = click.option("--tenant", default=None, metavar="ID", help="Only sessions of this user.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.group("kill-switch")
def kill_switch() -> None:
    """Stop entries of the platform, of a symbol, or of a tenant, at once."""


@kill_switch.command("on", cls=OneLineCommand)
@symbol_option
@tenant_option
@click.option("--flatten", is_flag=True, help="Also close the positions of live sessions.")
@click.option("--reason", default=None, help="Stored with the switch.")
@home_option
@json_option
def on_command(
    symbol: str | None, tenant: str | None, flatten: bool, reason: str | None, home: Path | None, as_json: bool
) -> None:
    """Switch on: once this returns, no session of the scope enters. Repeating it changes nothing."""
    scope = _scope(symbol, tenant)

    async def switch(connection: Connection) -> int:
        return await platform_kill_switch.switch_on(connection, scope, utc_now(), flatten=flatten, reason=reason)

    _report("on", scope, asyncio.run(_as_owner(home, switch)), as_json)


@kill_switch.command("off", cls=OneLineCommand)
@symbol_option
@tenant_option
@home_option
@json_option
def off_command(symbol: str | None, tenant: str | None, home: Path | None, as_json: bool) -> None:
    """Lift the switch of this scope; other switches stay on. Repeating it changes nothing."""
    scope = _scope(symbol, tenant)

    async def lift(connection: Connection) -> int:
        return await platform_kill_switch.lift(connection, scope, utc_now())

    _report("off", scope, asyncio.run(_as_owner(home, lift)), as_json)


@kill_switch.command("list", cls=OneLineCommand)
@home_option
@json_option
def list_command(home: Path | None, as_json: bool) -> None:
    """List the switches that are on, those of tenants included."""
    switches = asyncio.run(_as_owner(home, platform_kill_switch.list_active))
    if as_json:
        click.echo(json.dumps({"kill_switches": [_as_json(each) for each in switches]}))
        return
    for each in switches:
        shown = f"{each.scope}, since {instant_text(each.since)}{', flattening' if each.flatten else ''}"
        click.echo(f"{shown}{f': {each.reason}' if each.reason else ''}")
    if not switches:
        click.echo("no kill switch is on")


def _scope(symbol: str | None, tenant: str | None) -> Scope:
    """Raises BadOption."""
    if symbol is not None and tenant is not None:
        raise BadOption("use either --symbol or --tenant")
    try:
        return Scope(symbol.upper() if symbol else None, UUID(tenant) if tenant else None)
    except ValueError as error:
        raise BadOption(f"--tenant: {tenant} is not a user's id") from error


def _report(state: str, scope: Scope, changed: int, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"scope": str(scope), "state": state, "sessions_changed": changed}))
    else:
        click.echo(f"the kill switch of {scope} is {state}; {changed} running sessions changed")


def _as_json(switch: ActiveSwitch) -> dict[str, object]:
    return {
        "scope": switch.scope,
        "flatten": switch.flatten,
        "reason": switch.reason,
        "since": instant_text(switch.since),
    }


@asynccontextmanager
async def _open(home: Path | None) -> AsyncIterator[Connection]:
    dsn = owner_dsn(home)
    roles = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), dsn)
    database = await Database.connect(TradingSettings.model_validate({**roles, "kafka_bootstrap": ""}))
    try:
        async with database.untenanted() as connection:
            await connection.execute("SET LOCAL search_path = trading")
            yield connection
    except UnknownTenant as error:
        raise BadInput(str(error)) from error
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"trading's database does not answer: {error!r}") from error
    finally:
        await database.close()


async def _as_owner(home: Path | None, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do this in one transaction of the owner, who sees all tenants. Raises BadInput."""
    async with _open(home) as connection:
        return await work(connection)
