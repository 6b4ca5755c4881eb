"""`tradefleet plans`: what an operator may do with the catalogue and with people's plans."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import click

from cli.failure import BadInput
from cli.options import OneLineCommand
from cli.plan_file import differences, read_plan, shown
from services.billing.domain import Plan
from services.billing.operations.catalogue import Published, move_subscribers, publish_plan
from services.billing.operations.subscriptions import Granted, grant_plan
from services.billing.queries.plans import list_versions
from services.billing.settings import BillingSettings
from shared.chassis.clock import utc_now
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.billing import PlanName
from stack.home import DEFAULT_HOME, State, read_state

NEW_USER_WAIT_S = 10.0
LOOK_EVERY_S = 0.1
CONNECT_S = 10
NAMES = click.Choice(["FREE", "PREMIUM", "PRO"])

home_option = click.option("--home", type=click.Path(path_type=Path), default=None, help="The stack's folder.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
dry_option = click.option("--dry-run", is_flag=True, help="Say what would be, and change nothing.")


@click.group()
def plans() -> None:
    """The catalogue, and people's plans."""


@plans.command("list", cls=OneLineCommand)
@click.option("--all", "every", is_flag=True, help="Versions too that nobody new gets any more.")
@home_option
@json_option
def list_command(every: bool, home: Path | None, as_json: bool) -> None:
    """The plans there are."""
    listed = [plan for plan in asyncio.run(_versions(owner_dsn(home))) if every or plan.is_active]
    if as_json:
        click.echo(json.dumps({"plans": [_shown(plan) for plan in listed]}))
        return
    for plan in listed:
        terms = shown(plan.terms)
        requests = plan.limits.daily_api_requests
        limit = "any number of" if requests is None else f"{requests:,}"
        click.echo(
            f"{plan.name} version {plan.version}{'' if plan.is_active else ' (no longer given)'}: "
            f"{terms['price_monthly']} EUR a month, {terms['price_yearly']} a year, {limit} requests a day"
        )


@plans.command("publish", cls=OneLineCommand)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@dry_option
@home_option
@json_option
def publish_command(file: Path, dry_run: bool, home: Path | None, as_json: bool) -> None:
    """Make FILE.json the next version of the plan it names; subscribers keep theirs."""
    terms = read_plan(file)
    done = asyncio.run(_publish(owner_dsn(home), lambda owner: publish_plan(owner, terms, dry_run=dry_run)))
    changes = differences(done.before, terms) if done.changed else []
    if as_json:
        told = {"plan": terms.name, "version": done.version, "changed": done.changed, "dry_run": dry_run}
        click.echo(json.dumps({**told, "changes": changes}))
        return
    if not done.changed:
        click.echo(f"{terms.name} is this already (version {done.version})")
        return
    click.echo(f"{terms.name} version {done.version} {'would be' if dry_run else 'is'} what new subscribers get")
    for change in changes:
        click.echo(f"  {change}")


@plans.command("migrate", cls=OneLineCommand)
@click.argument("plan", type=NAMES)
@dry_option
@home_option
@json_option
def migrate_command(plan: PlanName, dry_run: bool, home: Path | None, as_json: bool) -> None:
    """Put all who are on an older version of PLAN on the one that is given now."""

    def progress(moved: int) -> None:
        if not as_json:
            click.echo(f"{moved} moved so far", err=True)

    moved = asyncio.run(migrate(home, plan, dry_run, progress))
    if as_json:
        click.echo(json.dumps({"plan": plan, "moved": moved, "dry_run": dry_run}))
    else:
        click.echo(f"{moved} {'would be' if dry_run else 'were'} moved to the version of {plan} that is given now")


@plans.command("grant", cls=OneLineCommand)
@click.option("--email", required=True, help="Whose plan.")
@click.option("--plan", required=True, type=NAMES)
@home_option
@click.option("--wait", "wait_s", default=NEW_USER_WAIT_S, help="Seconds to wait for a person just registered.")
@json_option
def grant_command(email: str, plan: PlanName, home: Path | None, wait_s: float, as_json: bool) -> None:
    """Put a person on a plan, from now on and without a charge."""
    granted = asyncio.run(grant(billing_dsn(home), email, plan, wait_s))
    if as_json:
        shown = {"user_id": str(granted.public_id), "plan": granted.plan}
        click.echo(json.dumps({**shown, "version": granted.version, "changed": granted.changed}))
    elif granted.changed:
        click.echo(f"{email} is on {granted.plan} now (version {granted.version})")
    else:
        click.echo(f"{email} was on {granted.plan} already (version {granted.version})")


def billing_dsn(home: Path | None) -> str:
    """The named stack's; else that of billing's environment, where this runs inside it; else `up`'s."""
    return _dsn(home, "POSTGRES_APP_DSN", lambda state: state.billing)


def owner_dsn(home: Path | None) -> str:
    """Of whoever migrates: the catalogue is his."""
    return _dsn(home, "POSTGRES_OWNER_DSN", lambda state: state.postgres)


def _dsn(home: Path | None, name: str, of: Callable[[State], str | None]) -> str:
    if home is None and (dsn := os.environ.get(name)):
        return dsn
    home = home or DEFAULT_HOME
    state = read_state(home)
    dsn = None if state is None else of(state)
    if not dsn:
        raise BadInput(f"no stack runs in {home}; start one with `tradefleet up`, or set {name}")
    return dsn


async def grant(dsn: str, email: str, plan: PlanName, wait_s: float = NEW_USER_WAIT_S) -> Granted:
    """As billing's own role; waits for a person so new that billing has not heard of him. Raises BadInput."""
    async with _billing(dsn) as database:
        for _ in range(1 + int(wait_s / LOOK_EVERY_S)):
            if (granted := await grant_plan(database, email, plan, utc_now())) is not None:
                return granted
            await asyncio.sleep(LOOK_EVERY_S)
        raise BadInput(f"nobody is registered as {email}")


async def migrate(home: Path | None, plan: PlanName, dry_run: bool, progress: Callable[[int], None]) -> int:
    """How many are on another version now. Raises BadInput."""
    queue = _dsn(home, "POSTGRES_QUEUE_DSN", lambda state: state.queues.get("billing"))
    moved = 0
    async with _billing(billing_dsn(home), queue) as database:
        async for page in move_subscribers(database, plan, utc_now(), dry_run=dry_run):
            moved += page
            progress(moved)
    return moved


async def _versions(dsn: str) -> list[Plan]:
    async with _owner(dsn) as owner:
        return await list_versions(owner)


async def _publish(dsn: str, publish: Callable[[asyncpg.Connection], Awaitable[Published]]) -> Published:
    async with _owner(dsn) as owner:
        return await publish(owner)


def _shown(plan: Plan) -> dict[str, object]:
    return {**shown(plan.terms), "version": plan.version, "is_active": plan.is_active}


@asynccontextmanager
async def _owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to billing's schema. Raises BadInput."""
    try:
        connection = await asyncpg.connect(dsn, server_settings={"search_path": "billing"}, timeout=CONNECT_S)
        try:
            yield connection
        finally:
            await connection.close()
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"billing's database does not answer: {error!r}") from error


@asynccontextmanager
async def _billing(dsn: str, queue_dsn: str = "") -> AsyncIterator[Database]:
    """Billing's database; pools that are not used are never opened. Raises BadInput."""
    database = await Database.connect(_settings(dsn, queue_dsn or dsn))
    try:
        yield database
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"billing's database does not answer: {error!r}") from error
    finally:
        await database.close()


def _settings(dsn: str, queue_dsn: str) -> BillingSettings:
    return BillingSettings.model_validate(
        {
            "postgres_app_dsn": dsn,
            "postgres_worker_dsn": dsn,
            "postgres_queue_dsn": queue_dsn,
            "kafka_bootstrap": "",
        }
    )
