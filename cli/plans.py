"""`tradefleet plans`: manage the plan catalogue and users' plans."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import click

from cli.options import OneLineCommand
from cli.plan_file import list_changes, plan_fields, read_plan
from cli.target import find_dsn, home_option
from services.billing.domain import Plan
from services.billing.operations.catalogue import PublishedPlan, move_subscribers, publish_plan
from services.billing.queries.plans import list_versions
from shared.chassis.clock import utc_now
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS
from shared.contracts.billing import PlanName
from stack.billing_database import NEW_USER_WAIT_S, grant, open_billing
from stack.failure import BadInput

CONNECT_TIMEOUT_S = 10
NAMES = click.Choice(["FREE", "PREMIUM", "PRO"])

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
dry_option = click.option("--dry-run", is_flag=True, help="Show the effect without changing anything.")


@click.group()
def plans() -> None:
    """Manage the plan catalogue and users' plans."""


@plans.command("list", cls=OneLineCommand)
@click.option("--all", "include_inactive", is_flag=True, help="Include versions that are no longer offered.")
@home_option
@json_option
def list_command(include_inactive: bool, home: Path | None, as_json: bool) -> None:
    """List the plans."""
    listed = [plan for plan in asyncio.run(_versions(owner_dsn(home))) if include_inactive or plan.is_active]
    if as_json:
        click.echo(json.dumps({"plans": [_shown(plan) for plan in listed]}))
        return
    for plan in listed:
        terms = plan_fields(plan.terms)
        requests = plan.limits.daily_api_requests
        limit = "unlimited" if requests is None else f"{requests:,}"
        click.echo(
            f"{plan.name} version {plan.version}{'' if plan.is_active else ' (no longer offered)'}: "
            f"{terms['price_monthly']} EUR per month, {terms['price_yearly']} per year, {limit} requests per day"
        )


@plans.command("publish", cls=OneLineCommand)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@dry_option
@home_option
@json_option
def publish_command(file: Path, dry_run: bool, home: Path | None, as_json: bool) -> None:
    """Publish FILE as the next version of its plan; existing subscribers keep their version."""
    terms = read_plan(file)
    done = asyncio.run(_publish(owner_dsn(home), lambda owner: publish_plan(owner, terms, dry_run=dry_run)))
    changes = list_changes(done.previous, terms) if done.changed else []
    if as_json:
        result = {"plan": terms.name, "version": done.version, "changed": done.changed, "dry_run": dry_run}
        click.echo(json.dumps({**result, "changes": changes}))
        return
    if not done.changed:
        click.echo(f"{terms.name} is unchanged (version {done.version})")
        return
    click.echo(
        f"{terms.name} version {done.version} {'would be' if dry_run else 'is now'} offered to new subscribers"
    )
    for change in changes:
        click.echo(f"  {change}")


@plans.command("migrate", cls=OneLineCommand)
@click.argument("plan", type=NAMES)
@dry_option
@home_option
@json_option
def migrate_command(plan: PlanName, dry_run: bool, home: Path | None, as_json: bool) -> None:
    """Move all subscribers of older versions of PLAN to the current version."""

    def progress(moved: int) -> None:
        if not as_json:
            click.echo(f"{moved} moved so far", err=True)

    moved = asyncio.run(migrate(home, plan, dry_run, progress))
    if as_json:
        click.echo(json.dumps({"plan": plan, "moved": moved, "dry_run": dry_run}))
    else:
        click.echo(
            f"{moved} subscribers {'would be' if dry_run else 'were'} moved to the current version of {plan}"
        )


@plans.command("grant", cls=OneLineCommand)
@click.option("--email", required=True, help="The user's e-mail.")
@click.option("--plan", required=True, type=NAMES)
@home_option
@click.option(
    "--wait", "wait_s", default=NEW_USER_WAIT_S, help="Seconds to wait for a user who has just registered."
)
@json_option
def grant_command(email: str, plan: PlanName, home: Path | None, wait_s: float, as_json: bool) -> None:
    """Give a user a plan, from now on and without a charge."""
    granted = asyncio.run(grant(billing_dsn(home), email, plan, wait_s))
    if as_json:
        shown = {"user_id": str(granted.public_id), "plan": granted.plan}
        click.echo(json.dumps({**shown, "version": granted.version, "changed": granted.changed}))
    elif granted.changed:
        click.echo(f"{email} is now on {granted.plan} (version {granted.version})")
    else:
        click.echo(f"{email} is already on {granted.plan} (version {granted.version})")


def billing_dsn(home: Path | None) -> str:
    """Return the DSN of billing's app role. Raises BadInput."""
    return find_dsn(home, "POSTGRES_APP_DSN", lambda state: state.billing)


def owner_dsn(home: Path | None) -> str:
    """Return the owner's DSN, whose role may change the catalogue. Raises BadInput."""
    return find_dsn(home, "POSTGRES_OWNER_DSN", lambda state: state.postgres)


async def migrate(home: Path | None, plan: PlanName, dry_run: bool, progress: Callable[[int], None]) -> int:
    """Move subscribers to the current version and return their number. Raises BadInput."""
    queue = find_dsn(home, "POSTGRES_QUEUE_DSN", lambda state: state.queues.get("billing"))
    moved = 0
    async with open_billing(billing_dsn(home), queue) as database:
        async for page in move_subscribers(database, plan, utc_now(), dry_run=dry_run):
            moved += page
            progress(moved)
    return moved


async def _versions(dsn: str) -> list[Plan]:
    async with _owner(dsn) as owner:
        return await list_versions(owner)


async def _publish(dsn: str, publish: Callable[[asyncpg.Connection], Awaitable[PublishedPlan]]) -> PublishedPlan:
    async with _owner(dsn) as owner:
        return await publish(owner)


def _shown(plan: Plan) -> dict[str, object]:
    return {**plan_fields(plan.terms), "version": plan.version, "is_active": plan.is_active}


@asynccontextmanager
async def _owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection to billing's schema as the owner. Raises BadInput."""
    try:
        connection = await asyncpg.connect(
            dsn, server_settings={"search_path": "billing"}, timeout=CONNECT_TIMEOUT_S
        )
        try:
            yield connection
        finally:
            await connection.close()
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"billing's database does not answer: {error!r}") from error
