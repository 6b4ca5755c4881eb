"""`tradefleet plans`: what an operator may do with people's plans."""

import asyncio
import json
import os
from pathlib import Path

import asyncpg
import click

from cli.failure import BadInput
from cli.stack.home import DEFAULT_HOME, read_state
from services.billing.operations import Granted, grant_plan
from services.billing.settings import BillingSettings
from shared.chassis.clock import utc_now
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.billing import PlanName

NEW_USER_WAIT_S = 10.0
LOOK_EVERY_S = 0.1


@click.group()
def plans() -> None:
    """People's plans."""


@plans.command("grant")
@click.option("--email", required=True, help="Whose plan.")
@click.option("--plan", required=True, type=click.Choice(["FREE", "PREMIUM", "PRO"]))
@click.option("--home", type=click.Path(path_type=Path), default=None, help="The stack's folder.")
@click.option("--wait", "wait_s", default=NEW_USER_WAIT_S, help="Seconds to wait for a person just registered.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
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
    if home is None and (dsn := os.environ.get("POSTGRES_APP_DSN")):
        return dsn
    home = home or DEFAULT_HOME
    state = read_state(home)
    if state is None or not state.billing:
        raise BadInput(f"no stack runs in {home}; start one with `tradefleet up`, or set POSTGRES_APP_DSN")
    return state.billing


async def grant(dsn: str, email: str, plan: PlanName, wait_s: float = NEW_USER_WAIT_S) -> Granted:
    """As billing's own role; waits for a person so new that billing has not heard of him. Raises BadInput."""
    database = await Database.connect(_settings(dsn))
    try:
        for _ in range(1 + int(wait_s / LOOK_EVERY_S)):
            if (granted := await grant_plan(database, email, plan, utc_now())) is not None:
                return granted
            await asyncio.sleep(LOOK_EVERY_S)
        raise BadInput(f"nobody is registered as {email}")
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"billing's database does not answer: {error!r}") from error
    finally:
        await database.close()


def _settings(dsn: str) -> BillingSettings:
    """One pool is used; the others are never opened."""
    return BillingSettings.model_validate(
        {
            "postgres_app_dsn": dsn,
            "postgres_worker_dsn": dsn,
            "postgres_queue_dsn": dsn,
            "kafka_bootstrap": "",
        }
    )
