"""One request, one unit of the tenant's day: taken from a block that is leased from billing, reported in batches.

A request costs a look into a dictionary; what is asked of billing or written is one thing per block and per report.
What becomes of a block is in services/billing/README.md.
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
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.quota.leases import GivenBack, LeaseRequest, Lessor
from shared.contracts.billing import RequestKind, UsageRecorded
from shared.contracts.types import new_id

REPORT_EVERY_S = 2.0
AGAIN_AFTER_S = 1.0  # so long billing's refusal holds, and its silence, before it is asked again
ALONE_BLOCK = 20  # of a tenant whose blocks are not known here: 2 % of the smallest plan's day
AT_ONCE = 500
GIVEN_BACK_KEPT = 10_000

log = structlog.get_logger()


@dataclass
class Block:
    """`until` is by the monotonic clock. `alone`: nobody granted it, as billing did not answer."""

    user_id: int
    public_id: UUID
    lease_id: UUID
    size: int
    until: float
    alone: bool = False
    used: int = 0
    unreported: Counter[RequestKind] = field(default_factory=Counter)
    since: datetime | None = None  # the first that is not reported
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
    """What one tenant has here. `alone_spent`: he has had the block that there is without billing."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    block: Block | None = None
    size: int = ALONE_BLOCK
    alone_spent: bool = False
    refusal: QuotaExceeded | None = None
    refused_on: date | None = None
    refused_until: float = 0.0

    def has(self, now: float) -> bool:
        return self.block is not None and self.block.has(now)


class Meter:
    """Of one process. `admit` before the work, `run` beside it, `close` when no more requests come."""

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
        self._away = False
        self._away_until = 0.0
        self._asking = 0  # while billing is away one request at a time waits to see whether it is back

    async def admit(self, caller: Principal, kind: RequestKind, operation: str) -> None:
        """Take one of the tenant's day. Raises QuotaExceeded (429), and Unavailable (503) without billing."""
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
        """Another block; those who wait for it take from it. Raises as `admit`."""
        asked = self._clock()
        if tenant.refusal is not None and asked < tenant.refused_until:
            raise _again(tenant.refusal)
        if asked < self._away_until or (self._away and self._asking):
            self._go_on_alone(tenant, caller)
            return
        self._asking += 1
        try:
            await self._lease(tenant, caller, operation, asked)
        finally:
            self._asking -= 1

    async def _lease(self, tenant: _Tenant, caller: Principal, operation: str, asked: float) -> None:
        """`asked`: a block's time runs from then, so that it is over here before it is over at billing."""
        request = LeaseRequest(
            user_id=caller.user_id, service=self._service, operation=operation, login_id=caller.session_id
        )
        try:
            lease = await self._lessor.lease(request)
        except QuotaExceeded as refusal:
            self._away = False
            tenant.refusal, tenant.refused_on = refusal, utc_now().date()
            tenant.refused_until = self._clock() + AGAIN_AFTER_S
            raise
        except AccountNotReady:
            # Seconds old, and billing has not heard of him yet: what is used is booked all the same.
            self._away = False
            self._hold(tenant, self._alone(caller, ALONE_BLOCK, self._clock() + AGAIN_AFTER_S))
        except Unavailable as error:
            log.warning("quota_not_leased", error=error.detail)
            self._away, self._away_until = True, self._clock() + AGAIN_AFTER_S
            self._go_on_alone(tenant, caller)
        else:
            self._away = False
            tenant.refusal, tenant.alone_spent, tenant.size = None, False, lease.granted
            until = asked + lease.usable_ms / 1000
            self._hold(tenant, Block(caller.user_id, caller.public_id, lease.lease_id, lease.granted, until))

    def _go_on_alone(self, tenant: _Tenant, caller: Principal) -> None:
        """One block more, used up as long as billing is away; then no further. Raises as `admit`."""
        block = tenant.block
        if block is not None and block.alone and block.used < block.size:
            block.until = self._clock() + AGAIN_AFTER_S
            return
        if tenant.refusal is not None and tenant.refused_on == utc_now().date():
            raise _again(tenant.refusal)
        if tenant.alone_spent:
            raise Unavailable("your quota cannot be asked for at the moment", retry_after_s=2)
        tenant.alone_spent = True
        self._hold(tenant, self._alone(caller, tenant.size, self._clock() + AGAIN_AFTER_S))

    def _alone(self, caller: Principal, size: int, until: float) -> Block:
        telemetry.QUOTA_ALONE.inc()
        return Block(caller.user_id, caller.public_id, new_id(), size, until, alone=True)

    def _hold(self, tenant: _Tenant, block: Block) -> None:
        self._end(tenant)
        tenant.block = block

    def _end(self, tenant: _Tenant) -> None:
        if tenant.block is not None and not tenant.block.alone:
            self._ended.append(tenant.block)
            del self._ended[:-GIVEN_BACK_KEPT]
        tenant.block = None

    async def run(self, stop: asyncio.Event) -> None:
        """Report, and give back, until told to stop."""
        while not stop.is_set():
            await pause(stop, REPORT_EVERY_S)
            await self.report()

    async def close(self) -> None:
        """What is left is reported, and every block given back."""
        for tenant in self._tenants.values():
            self._end(tenant)
        try:
            async with asyncio.timeout(2):
                await self.report()
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("usage_not_reported", error=repr(error))
        await self._lessor.close()

    async def report(self) -> None:
        """What was used since the last time, in its order; the same rows again where that failed."""
        self._forget_idle()
        events = list(self._collect())
        for first in range(0, len(events), AT_ONCE):
            self._reports.append(self._rows_of(events[first : first + AT_ONCE]))
        while self._reports:
            await self._write(self._reports[0])
            del self._reports[0]
        await self._give_back()

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
            log.info("usage_reported_already", rows=len(rows))  # the commit whose outcome was not known

    def _collect(self) -> Iterator[UsageRecorded]:
        now = utc_now()
        blocks, self._unreported = self._unreported, {}
        for block in blocks.values():
            yield from self._events_of(block, now)

    def _events_of(self, block: Block, now: datetime) -> Iterator[UsageRecorded]:
        assert block.since is not None, "it is noted with the first request"
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

    def _forget_idle(self) -> None:
        """Tenants without a block; but not what one may not have anew, while billing is away."""
        now, today = self._clock(), utc_now().date()
        for user_id, tenant in list(self._tenants.items()):
            block = tenant.block
            if block is not None and not block.has(now) and not (block.alone and self._away):
                self._end(tenant)
            remembered = tenant.refused_on == today or (tenant.alone_spent and self._away)
            if tenant.block is None and not remembered and not tenant.lock.locked():
                del self._tenants[user_id]

    async def _give_back(self) -> None:
        while self._ended:
            some, self._ended = self._ended[:AT_ONCE], self._ended[AT_ONCE:]
            try:
                await self._lessor.give_back(
                    [GivenBack(user_id=each.user_id, lease_id=each.lease_id, used=each.used) for each in some]
                )
            except Unavailable:
                self._ended[:0] = some
                return


def _again(refusal: QuotaExceeded) -> QuotaExceeded:
    """The same refusal, now."""
    now = utc_now()
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    left_s = -((now - midnight) // timedelta(seconds=1))
    return QuotaExceeded(limit=refusal.extra["limit"], used=refusal.extra["used"], retry_after_s=left_s)
