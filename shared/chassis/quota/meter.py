"""Meters requests: each uses one unit of the tenant's daily quota, from a block leased from billing.

A request costs a dictionary lookup. Billing is called once per block, and usage is written in batches once per
report. The life of a block is described in services/billing/README.md.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic
from uuid import UUID

import asyncpg
import structlog

from shared.chassis import telemetry
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.errors import AccountNotReady, QuotaExceeded, Unavailable
from shared.chassis.events.outbox import OutboxRow, insert_outgoing, serialise
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.quota.leases import LeaseRequest, Lessor, ReturnedBlock
from shared.contracts.billing import RequestKind, UsageRecorded
from shared.contracts.types import new_id

REPORT_EVERY_S = 2.0
RETRY_AFTER_S = 1.0  # how long after a refusal or no answer before billing is called again
UNLEASED_BLOCK = 20  # for a tenant whose block size is not known here: 2 % of the smallest plan's day
BATCH = 500
MAX_ENDED_BLOCKS = 10_000

log = structlog.get_logger()


@dataclass
class Block:
    """A number of requests that may be served. `until` is on the monotonic clock. `unleased` means that billing did
    not grant it, because it did not answer."""

    user_id: int
    public_id: UUID
    lease_id: UUID
    size: int
    until: float
    unleased: bool = False
    used: int = 0
    unreported: Counter[RequestKind] = field(default_factory=Counter)
    since: datetime | None = None  # the time of the first unreported request
    windows: int = 0
    events: int = 0

    def has(self, now: float) -> bool:
        return self.used < self.size and now < self.until

    def take(self, kind: RequestKind, now: float) -> bool:
        if not self.has(now):
            return False
        self.used += 1
        self.unreported[kind] += 1
        return True


@dataclass
class _Tenant:
    """The state of one tenant in this process. `unleased_spent`: the one block without a lease is spent."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    block: Block | None = None
    size: int = UNLEASED_BLOCK
    unleased_spent: bool = False
    refusal: QuotaExceeded | None = None
    refused_on: date | None = None
    refused_until: float = 0.0

    def has(self, now: float) -> bool:
        return self.block is not None and self.block.has(now)


class Meter:
    """The meter of one process: `admit` before each request, `report` at intervals, `close` after the last."""

    def __init__(
        self,
        database: Database,
        lessor: Lessor,
        service: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._lessor = lessor
        self._service = service
        self._clock = clock
        self._tenants: dict[int, _Tenant] = {}
        self._unreported: dict[UUID, Block] = {}
        self._reports: list[list[OutboxRow]] = []  # a transaction each
        self._ended: list[Block] = []
        self._unreachable = False
        self._unreachable_until = 0.0
        self._probing = 0  # while billing is unreachable, only one request at a time calls it

    async def admit(self, caller: Principal, kind: RequestKind, operation: str) -> None:
        """Use one request of the tenant's daily quota. Raises QuotaExceeded (429), or Unavailable (503) if billing
        is unreachable."""
        tenant = self._tenants.get(caller.user_id)
        if tenant is None:
            tenant = self._tenants[caller.user_id] = _Tenant()
        while tenant.block is None or not tenant.block.take(kind, self._clock()):
            async with tenant.lock:
                if not tenant.has(self._clock()):
                    await self._renew(tenant, caller, operation)
        block = tenant.block
        if block.since is None:
            block.since = utc_now()
            self._unreported[block.lease_id] = block

    async def _renew(self, tenant: _Tenant, caller: Principal, operation: str) -> None:
        """Get another block, which the waiting requests share. Raises the same as `admit`."""
        requested_at = self._clock()
        if tenant.refusal is not None and requested_at < tenant.refused_until:
            raise _repeat_refusal(tenant.refusal)
        if requested_at < self._unreachable_until or (self._unreachable and self._probing):
            self._use_unleased(tenant, caller)
            return
        self._probing += 1
        try:
            await self._lease(tenant, caller, operation, requested_at)
        finally:
            self._probing -= 1

    async def _lease(self, tenant: _Tenant, caller: Principal, operation: str, requested_at: float) -> None:
        """Lease a block. Its time starts at `requested_at`, so that it expires here before it does at billing."""
        request = LeaseRequest(
            user_id=caller.user_id, service=self._service, operation=operation, login_id=caller.session_id
        )
        try:
            lease = await self._lessor.lease(request)
        except QuotaExceeded as refusal:
            self._unreachable = False
            tenant.refusal, tenant.refused_on = refusal, utc_now().date()
            tenant.refused_until = self._clock() + RETRY_AFTER_S
            raise
        except AccountNotReady:
            # The account is seconds old and billing does not know it yet; its usage is recorded even so.
            self._unreachable = False
            self._set_block(tenant, self._unleased_block(caller, UNLEASED_BLOCK, self._clock() + RETRY_AFTER_S))
        except Unavailable as error:
            log.warning("quota_not_leased", error=error.detail)
            self._unreachable, self._unreachable_until = True, self._clock() + RETRY_AFTER_S
            self._use_unleased(tenant, caller)
        else:
            self._unreachable = False
            tenant.refusal, tenant.unleased_spent, tenant.size = None, False, lease.granted
            until = requested_at + lease.usable_ms / 1000
            self._set_block(tenant, Block(caller.user_id, caller.public_id, lease.lease_id, lease.granted, until))

    def _use_unleased(self, tenant: _Tenant, caller: Principal) -> None:
        """Allow one block without a lease while billing is unreachable, and no more. Raises the same as `admit`."""
        block = tenant.block
        if block is not None and block.unleased and block.used < block.size:
            block.until = self._clock() + RETRY_AFTER_S
            return
        if tenant.refusal is not None and tenant.refused_on == utc_now().date():
            raise _repeat_refusal(tenant.refusal)
        if tenant.unleased_spent:
            raise Unavailable("your quota cannot be checked at the moment", retry_after_s=2)
        tenant.unleased_spent = True
        self._set_block(tenant, self._unleased_block(caller, tenant.size, self._clock() + RETRY_AFTER_S))

    def _unleased_block(self, caller: Principal, size: int, until: float) -> Block:
        telemetry.QUOTA_UNLEASED.inc()
        return Block(caller.user_id, caller.public_id, new_id(), size, until, unleased=True)

    def _set_block(self, tenant: _Tenant, block: Block) -> None:
        self._end(tenant)
        tenant.block = block

    def _end(self, tenant: _Tenant) -> None:
        if tenant.block is not None and not tenant.block.unleased:
            self._ended.append(tenant.block)
            del self._ended[:-MAX_ENDED_BLOCKS]
        tenant.block = None

    async def close(self) -> None:
        """Report the remaining usage and return every block."""
        for tenant in self._tenants.values():
            self._end(tenant)
        try:
            async with asyncio.timeout(2):
                await self.report()
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("usage_not_reported", error=repr(error))
        await self._lessor.close()

    async def report(self) -> None:
        """Write the usage since the last report, in order, and return ended blocks to billing. Rows whose write
        failed are written again first."""
        self._drop_idle()
        events = list(self._collect())
        for first in range(0, len(events), BATCH):
            self._reports.append(self._rows_of(events[first : first + BATCH]))
        while self._reports:
            await self._write(self._reports[0])
            del self._reports[0]
        await self._return_blocks()

    def _rows_of(self, events: Sequence[UsageRecorded]) -> list[OutboxRow]:
        moment = utc_now()
        return [
            OutboxRow(event.user_id, event.topic, event.key(), *serialise(event, self._service, moment))
            for event in events
        ]

    async def _write(self, rows: list[OutboxRow]) -> None:
        try:
            async with self._database.tenants({row.user_id for row in rows}) as connection:
                await insert_outgoing(connection, rows)
        except asyncpg.UniqueViolationError:
            log.info("usage_reported_already", rows=len(rows))  # an earlier commit of unknown outcome had succeeded

    def _collect(self) -> Iterator[UsageRecorded]:
        now = utc_now()
        blocks, self._unreported = self._unreported, {}
        for block in blocks.values():
            yield from self._events_of(block, now)

    def _events_of(self, block: Block, now: datetime) -> Iterator[UsageRecorded]:
        assert block.since is not None, "set with the first request"
        counts, since = block.unreported, block.since
        block.unreported, block.since = Counter(), None
        block.windows += 1
        for kind, count in counts.items():
            block.events += 1
            yield UsageRecorded(
                user_id=block.user_id,
                public_id=block.public_id,
                aggregate=f"lease:{block.lease_id}",
                aggregate_seq=block.events,
                recorded_by=self._service,
                lease_id=block.lease_id,
                kind=kind,
                count=count,
                window=block.windows,
                window_start=since,
                window_end=max(since, now),
            )

    def _drop_idle(self) -> None:
        """Drop tenants without a block, except those whose refusal, or unleased block while billing is unreachable,
        must be remembered."""
        now, today = self._clock(), utc_now().date()
        for user_id, tenant in list(self._tenants.items()):
            block = tenant.block
            if block is not None and not block.has(now) and not (block.unleased and self._unreachable):
                self._end(tenant)
            remembered = tenant.refused_on == today or (tenant.unleased_spent and self._unreachable)
            if tenant.block is None and not remembered and not tenant.lock.locked():
                del self._tenants[user_id]

    async def _return_blocks(self) -> None:
        while self._ended:
            batch, self._ended = self._ended[:BATCH], self._ended[BATCH:]
            try:
                await self._lessor.return_blocks(
                    [ReturnedBlock(user_id=each.user_id, lease_id=each.lease_id, used=each.used) for each in batch]
                )
            except Unavailable:
                self._ended[:0] = batch
                return


def _repeat_refusal(refusal: QuotaExceeded) -> QuotaExceeded:
    """Return the same refusal with the seconds left until midnight UTC."""
    now = utc_now()
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    left_s = -((now - midnight) // timedelta(seconds=1))
    return QuotaExceeded(limit=refusal.extra["limit"], used=refusal.extra["used"], retry_after_s=left_s)
