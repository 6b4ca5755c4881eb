"""Checks all exchange accounts regularly, and notifies tenants of keys that were revoked or expire, of permissions
that grew and of settings that changed."""

import asyncio

import structlog
from prometheus_client import Counter

from services.trading.custody import queries
from services.trading.custody.custody import Custody
from services.trading.custody.operations import record_check
from services.trading.custody.queries import AccountKey
from services.trading.errors import SecretUnreadable
from shared.chassis.clock import utc_now
from shared.chassis.errors import ExchangeUnreachable, NotFound
from shared.chassis.jobs import AT_ONCE, Job, every
from shared.chassis.postgres import Database

LOOK_EVERY_S = 5.0
AT_MOST = 20  # accounts of one claim
AT_ONCE_ASKED = 4  # of these, how many the exchange is asked about at the same time

CHECKS = Counter("exchange_account_checks_total", "Checks of exchange accounts by the probe", ["outcome"])

log = structlog.get_logger()


class AccountProbe:
    """Several processes may run it: a claim gives each due account to one of them."""

    def __init__(self, database: Database, custody: Custody, every_s: float) -> None:
        self._database = database
        self._custody = custody
        self._every_s = every_s

    def job(self) -> Job:
        return every("exchange-accounts", LOOK_EVERY_S, self.check_due)

    async def check_due(self) -> float | None:
        """Check the accounts that are due, and look again at once after a full batch."""
        async with self._database.queue() as connection:
            claimed = await queries.claim_checks(connection, self._custody.allows_live, AT_MOST)
        turns = asyncio.Semaphore(AT_ONCE_ASKED)

        async def check(account: AccountKey) -> None:
            async with turns:
                outcome = await self._check(account)
            CHECKS.labels(outcome).inc()

        async with asyncio.TaskGroup() as group:
            for account in claimed:
                group.create_task(check(account))
        return AT_ONCE if len(claimed) == AT_MOST else None

    async def _check(self, key: AccountKey) -> str:
        """Check one account; one that the exchange does not answer for stays due when its claim ends."""
        try:
            async with self._database.tenants([key.user_id]) as connection:
                account = await queries.get_account(connection, key.user_id, key.exchange_account_id)
                credentials = await self._custody.open_credentials(connection, key.user_id, key.exchange_account_id)
            inspection = await self._custody.inspect(credentials, account.site, utc_now())
            async with self._database.tenants([key.user_id]) as connection:
                row = await record_check(connection, account, inspection, utc_now())
                await queries.schedule_check(connection, key, self._every_s)
        except NotFound:
            return "DELETED"
        except ExchangeUnreachable:
            return "UNREACHABLE"
        except SecretUnreadable as error:
            log.error("exchange_account_unreadable", account=str(key.exchange_account_id), reason=error.detail)
            return "UNREADABLE"
        return row.status
