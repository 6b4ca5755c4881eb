"""Counts the requests of each tenant, and refuses them while billing reports the day's quota as exhausted.

A request costs a few dictionary lookups and calls nobody. The counts are published in batches (`usage.recorded`);
billing adds them up and answers with `quota.changed`, which access_reader.py passes to quotas.py.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import structlog

from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.errors import QuotaExceeded
from shared.chassis.events.outbox import OutboxRow, insert_outgoing, outgoing
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.chassis.quota.metered_paths import kind_of
from shared.chassis.quota.quotas import Quota, Quotas
from shared.contracts.billing import RequestKind, RequestRefusal, UsageRecorded
from shared.contracts.types import new_id

REPORT_EVERY_S = 2.0
BATCH = 500

log = structlog.get_logger()


@dataclass
class _Tenant:
    """The requests of one tenant in the current window."""

    public_id: UUID
    since: datetime
    counts: Counter[RequestKind] = field(default_factory=Counter)
    refusals: dict[tuple[RequestKind, str], RequestRefusal] = field(default_factory=dict)


class Meter:
    """The meter of one process: `admit` before each request, `report` at intervals, `close` after the last."""

    def __init__(
        self, database: Database, quotas: Quotas, service: str, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._quotas = quotas
        self._service = service
        self._clock = clock
        self._instance = new_id()
        self._window = 0
        self._day = clock().date()
        self._tenants: dict[int, _Tenant] = {}
        self._unwritten: list[list[OutboxRow]] = []  # a transaction each

    def admit(self, caller: Principal, method: str, path: str) -> None:
        """Count a request to this operation. Raises QuotaExceeded while the tenant's quota is exhausted."""
        kind = kind_of(method, path)
        if kind is None:
            return
        now = self._clock()
        if now.date() != self._day:
            self._close_window(now)
        tenant = self._tenants.get(caller.user_id)
        if tenant is None:
            tenant = self._tenants[caller.user_id] = _Tenant(caller.public_id, now)
        tenant.counts[kind] += 1
        quota = self._quotas.find_exhausted(caller.user_id, now)
        if quota is not None:
            _count_refusal(tenant, kind, f"{method} {path}", caller.session_id, quota, now)
            left_s = -((now - quota.until) // timedelta(seconds=1))
            raise QuotaExceeded(limit=quota.limit, used=quota.used, retry_after_s=left_s)

    async def report(self) -> None:
        """Write the requests since the last report. Rows whose write failed are written again first; meanwhile the
        counts add up in the current window."""
        await self._write_closed()
        self._close_window(self._clock())
        await self._write_closed()

    async def close(self) -> None:
        """Report the remaining requests."""
        try:
            async with asyncio.timeout(2):
                await self.report()
        except INFRASTRUCTURE_FAULTS as error:
            log.warning("usage_not_reported", error=repr(error))

    def _close_window(self, now: datetime) -> None:
        """Begin a new window, also at midnight, so that each window lies within one day."""
        tenants, self._tenants, self._day = self._tenants, {}, now.date()
        if not tenants:
            return
        self._window += 1
        rows = [
            outgoing(event, self._service, now)
            for user_id, tenant in tenants.items()
            for event in self._events_of(user_id, tenant, now)
        ]
        self._unwritten += [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]

    def _events_of(self, user_id: int, tenant: _Tenant, now: datetime) -> Iterator[UsageRecorded]:
        for number, (kind, count) in enumerate(tenant.counts.items(), 1):
            yield UsageRecorded(
                user_id=user_id,
                public_id=tenant.public_id,
                aggregate=f"usage:{self._instance}:{self._window}:{tenant.public_id}",
                aggregate_seq=number,
                recorded_by=self._service,
                lease_id=self._instance,
                kind=kind,
                count=count,
                window=self._window,
                window_start=tenant.since,
                window_end=max(tenant.since, now),
                refusals=tuple(each for (of, _), each in tenant.refusals.items() if of == kind),
            )

    async def _write_closed(self) -> None:
        while self._unwritten:
            await self._write(self._unwritten[0])
            del self._unwritten[0]

    async def _write(self, rows: list[OutboxRow]) -> None:
        try:
            async with self._database.tenants({row.user_id for row in rows}) as connection:
                await insert_outgoing(connection, rows)
        except asyncpg.UniqueViolationError:
            log.info("usage_reported_already", rows=len(rows))  # an earlier commit of unknown outcome had succeeded


def _count_refusal(
    tenant: _Tenant, kind: RequestKind, operation: str, login_id: UUID | None, quota: Quota, now: datetime
) -> None:
    earlier = tenant.refusals.get((kind, operation))
    tenant.refusals[kind, operation] = RequestRefusal(
        operation=operation,
        count=1 if earlier is None else earlier.count + 1,
        login_id=login_id,
        refused_at=now,
        used=quota.used,
        limit=quota.limit,
    )
