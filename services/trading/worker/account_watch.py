"""Watches an account that live sessions trade on: reconciles it before they may enter, and notes its equity."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import structlog

from services.trading.exchange.venue import KeyRejected, Venue, VenueUnavailable, VenueWallet
from services.trading.operations.account_risk import note_equity
from services.trading.operations.block_entries import block_account
from services.trading.operations.reconcile_account import find_since, record_look, refuse_entries
from services.trading.orders.reconciliation import look_at
from services.trading.venue_clock import VenueClock
from shared.chassis.infrastructure_faults import RETRYABLE_FAULTS
from shared.chassis.postgres import Database

LOOK_EVERY_S = 60.0
FIRST_RETRY_S = 1.0  # while it is not reconciled; doubled up to LOOK_EVERY_S
LOOKS_BEFORE_ALARM = 5  # sessions need some seconds to book what was executed meanwhile

log = structlog.get_logger()


class AccountWatch:
    def __init__(
        self,
        database: Database,
        name: tuple[int, UUID],
        venue: Venue,
        clock: VenueClock,
        on_change: Callable[[], None],
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        """`on_change` is called when entries may be allowed again, or are refused from now on."""
        self._database = database
        self._user_id, self._account_id = name
        self._venue = venue
        self._clock = clock
        self._on_change = on_change
        self._first_retry_s = first_retry_s
        self._unclear = 0  # looks that found something unknown or could not be taken, since the last clear one
        self._woken = asyncio.Event()
        self.is_reconciled = False

    async def run(self) -> None:
        retry_s = self._first_retry_s
        while True:
            try:
                await self._look()
            except (VenueUnavailable, KeyRejected, *RETRYABLE_FAULTS) as error:
                log.warning("account_not_read", exchange_account_id=str(self._account_id), error=repr(error))
            wait_s = LOOK_EVERY_S if self.is_reconciled else retry_s
            retry_s = self._first_retry_s if self.is_reconciled else min(2 * retry_s, LOOK_EVERY_S)
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()

    def look_again(self) -> None:
        """Look at once: entries wait although the account was reconciled, as the database was started since."""
        if self.is_reconciled:
            self._woken.set()

    async def _look(self) -> None:
        async with self._database.tenants([self._user_id]) as connection:
            since = await find_since(connection, self._user_id, self._account_id)
        self.is_reconciled = since is None
        if since is None:
            wallet = await self._venue.get_wallet()
        else:
            wallet = await self._reconcile(since)
        await self._note_equity(wallet)

    async def _reconcile(self, since: datetime) -> VenueWallet:
        user_id, account_id = self._user_id, self._account_id
        is_final = self._unclear >= LOOKS_BEFORE_ALARM
        self._unclear += 1
        try:
            look = await look_at(self._venue, since)
        except (VenueUnavailable, KeyRejected) as error:
            if is_final:
                await self._refuse([f"the account cannot be read: {error}"])
            raise
        async with self._database.tenant(user_id) as connection:
            now = self._clock.estimated
            unknown = await record_look(connection, user_id, account_id, look, now, is_final=is_final)
        if unknown:
            log.warning("account_not_reconciled", exchange_account_id=str(account_id), unknown=unknown)
        else:
            log.info("account_reconciled", exchange_account_id=str(account_id))
            self._unclear, self.is_reconciled = 0, True
        self._on_change()
        return look.wallet

    async def _refuse(self, reasons: Sequence[str]) -> None:
        async with self._database.tenant(self._user_id) as connection:
            now = self._clock.estimated
            await refuse_entries(connection, self._user_id, self._account_id, reasons, now)
        self._on_change()

    async def _note_equity(self, wallet: VenueWallet) -> None:
        """Note the equity for the risk limits of the account."""
        user_id, account_id, now = self._user_id, self._account_id, self._clock.estimated
        async with self._database.tenants([user_id]) as connection:
            breached = await note_equity(connection, user_id, account_id, wallet.equity, now)
        if breached:
            async with self._database.tenant(user_id) as connection:
                await block_account(connection, user_id, account_id, now)
