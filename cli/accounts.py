"""`tradefleet accounts`: deactivate and reactivate accounts."""

import asyncio
from pathlib import Path

import asyncpg
import click

from cli.options import OneLineCommand
from cli.target import find_dsn, home_option
from services.auth.operations.deactivation import ActivationChange, set_account_active
from shared.chassis.clock import utc_now
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.settings import ServiceSettings
from stack.failure import BadInput


@click.group()
def accounts() -> None:
    """Deactivate and reactivate accounts."""


@accounts.command("deactivate", cls=OneLineCommand)
@click.argument("email")
@home_option
def deactivate_command(email: str, home: Path | None) -> None:
    """Deactivate an account: its logins end within seconds, and new logins are refused."""
    done = asyncio.run(_switch(app_dsn(home), email, active=False))
    click.echo(
        f"{done.public_id}: deactivated, {done.ended} logins ended" if done.changed else "already deactivated"
    )


@accounts.command("reactivate", cls=OneLineCommand)
@click.argument("email")
@home_option
def reactivate_command(email: str, home: Path | None) -> None:
    """Reactivate an account, so that its owner can log in again."""
    done = asyncio.run(_switch(app_dsn(home), email, active=True))
    click.echo(f"{done.public_id}: active again" if done.changed else "already active")


def app_dsn(home: Path | None) -> str:
    """Return the DSN of auth's app role. Raises BadInput."""
    return find_dsn(home, "POSTGRES_APP_DSN", lambda state: state.auth_app)


async def _switch(dsn: str, email: str, *, active: bool) -> ActivationChange:
    """Raises BadInput if nobody is registered with this e-mail, or the database fails."""
    dsns = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), dsn)
    database = await Database.connect(
        ServiceSettings.model_validate({"service": "auth", "kafka_bootstrap": "", **dsns})
    )
    try:
        done = await set_account_active(database, email, utc_now(), active=active)
    except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
        raise BadInput(f"auth's database does not answer: {error!r}") from error
    finally:
        await database.close()
    if done is None:
        raise BadInput(f"no user is registered as {email}")
    return done
