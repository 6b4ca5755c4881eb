"""Publish versions of plans, and move subscribers to the active version, by an operator."""

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
class PublishedPlan:
    """The version that has the terms, and the latest version before the call.

    `changed` is False if the active version already had these terms: then `previous` is that version.
    """

    changed: bool
    version: int
    previous: Plan | None


async def publish_plan(owner: asyncpg.Connection, terms: PlanTerms, *, dry_run: bool = False) -> PublishedPlan:
    """Publish the next version of a plan, for new subscribers. A dry run only returns what would change.

    Runs as the owner of the schema, like a migration: no role of a service may change the catalogue.
    """
    async with owner.transaction():
        latest = await plans.lock_latest(owner, terms.name)
        if latest is not None and latest.is_active and latest.terms == terms:
            return PublishedPlan(False, latest.version, latest)
        version = 1 if latest is None else latest.version + 1
        if not dry_run:
            await plans.insert_version(owner, terms, version)
        return PublishedPlan(True, version, latest)


async def move_subscribers(
    database: Database, name: PlanName, now: datetime, *, dry_run: bool = False
) -> AsyncIterator[int]:
    """Move all subscribers of an older version of this plan, one transaction each. Yields the count per page.

    May be run again after an interruption.
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
