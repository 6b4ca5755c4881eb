"""The catalogue changes by versions, and people are moved to a newer one by an operator's word."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.billing.domain import Plan, PlanTerms
from services.billing.operations.subscriptions import move_to_active_version
from services.billing.queries import plans, subscriptions
from shared.chassis.postgres import Database
from shared.contracts.billing import PlanName

MOVED_AT_ONCE = 500


@dataclass(frozen=True)
class Published:
    """Whether the terms are new, the version that they have, and the one that was active before."""

    changed: bool
    version: int
    before: Plan | None


async def publish_plan(owner: asyncpg.Connection, terms: PlanTerms, *, dry_run: bool = False) -> Published:
    """The next version of a plan, for those who come from now on; a dry run says what would be.

    By the owner of the schema, as a migration is: no role that serves anything may change the catalogue.
    """
    async with owner.transaction():
        latest = await plans.lock_latest(owner, terms.name)
        if latest is not None and latest.is_active and latest.terms == terms:
            return Published(False, latest.version, latest)
        version = 1 if latest is None else latest.version + 1
        if not dry_run:
            await plans.insert_version(owner, terms, version)
        return Published(True, version, latest)


async def move_subscribers(
    database: Database, name: PlanName, now: datetime, *, dry_run: bool = False
) -> AsyncIterator[int]:
    """All who are on an older version of this plan, a transaction each; after every page how many it moved.

    Interrupted, it may be begun again.
    """
    last = -1
    while True:
        async with database.queue() as connection:
            page = await subscriptions.list_subscribers(connection, last, MOVED_AT_ONCE)
        moved = 0
        for user_id in page:
            async with database.tenant(user_id) as connection:
                moved += await move_to_active_version(connection, user_id, name, now, dry_run=dry_run)
        yield moved
        if len(page) < MOVED_AT_ONCE:
            return
        last = page[-1]
