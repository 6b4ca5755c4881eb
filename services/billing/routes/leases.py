"""Quota leases for the other services: on the internal listener, never routed by the gateway."""

from datetime import timedelta
from uuid import UUID

from pydantic import Field

from services.billing.domain import LeaseRefusal, ReturnedLease
from services.billing.operations.leases import lease_block, return_leases
from shared.chassis.errors import Forbidden, QuotaExceeded
from shared.chassis.http.app import Call
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.types import BodyModel, Id, ViewModel

MAX_BLOCKS = 1_000
MAX_REQUESTS = 2**31 - 1


class LeaseBody(BodyModel):
    user_id: int = Field(ge=1, le=2**63 - 1)
    service: str = Field(min_length=1, max_length=40)
    operation: str = Field(min_length=1, max_length=200)
    login_id: Id | None = None


class LeaseView(ViewModel):
    lease_id: UUID
    granted: int
    usable_ms: int


class BlockBody(BodyModel):
    user_id: int = Field(ge=1, le=2**63 - 1)
    lease_id: Id
    used: int = Field(ge=0, le=MAX_REQUESTS)


class ReturnedLeasesBody(BodyModel):
    blocks: list[BlockBody] = Field(min_length=1, max_length=MAX_BLOCKS)


METERED_SERVICES = frozenset(("auth", "trading", "analytics", "notifications"))


class LeaseRoutes(Routes):
    """Endpoints for the services that meter requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint(
        "POST",
        "/internal/v1/leases",
        "Lease a block of a tenant's daily requests",
        callers=METERED_SERVICES,
        errors=(QuotaExceeded,),
    )
    async def lease_quota(self, call: Call, body: LeaseBody) -> LeaseView:
        if body.service != call.service:
            raise Forbidden(f"{call.service} may not lease for {body.service}")
        answer = await lease_block(
            self._database, body.user_id, body.service, body.operation, body.login_id, call.now
        )
        if isinstance(answer, LeaseRefusal):
            raise QuotaExceeded(limit=answer.limit, used=answer.used, retry_after_s=answer.retry_after_s)
        return LeaseView(
            lease_id=answer.lease_id,
            granted=answer.granted,
            usable_ms=answer.usable // timedelta(milliseconds=1),
        )

    @endpoint(
        "POST",
        "/internal/v1/leases/given-back",
        "Return blocks that are no longer used",
        callers=METERED_SERVICES,
    )
    async def give_back_quota(self, call: Call, body: ReturnedLeasesBody) -> None:
        await return_leases(
            self._database, [ReturnedLease(block.user_id, block.lease_id, block.used) for block in body.blocks]
        )
