"""Billing's database for its operators: opening it and granting plans, outside the running service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from services.billing.operations.subscriptions import PlanGrant, grant_plan
from services.billing.settings import BillingSettings
from shared.chassis.clock import utc_now
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.billing import PlanName
from stack.failure import BadInput

NEW_USER_WAIT_S = 10.0
POLL_INTERVAL_S = 0.1


async def grant(dsn: str, email: str, plan: PlanName, wait_s: float = NEW_USER_WAIT_S) -> PlanGrant:
    """Grant a plan with billing's app role; waits up to `wait_s` for a user that billing does not know yet.

    Raises BadInput.
    """
    async with open_billing(dsn) as database:
        for _ in range(1 + int(wait_s / POLL_INTERVAL_S)):
            if (granted := await grant_plan(database, email, plan, utc_now())) is not None:
                return granted
            await asyncio.sleep(POLL_INTERVAL_S)
        raise BadInput(f"no user is registered as {email}")


@asynccontextmanager
async def open_billing(dsn: str, queue_dsn: str = "") -> AsyncIterator[Database]:
    """Open billing's database; unused pools are never opened. Raises BadInput."""
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
