"""Quota leases, for the HTTP layer of the other services: on the internal listener, never routed by the gateway."""

from datetime import timedelta
from uuid import UUID

from pydantic import Field

from services.billing.domain import GivenBack, Refused
from services.billing.operations.leases import lease_block, take_back
from shared.chassis.errors import Forbidden, QuotaExceeded
from shared.chassis.http.app import Call, Endpoint
from shared.chassis.postgres import Database
from shared.contracts.types import BodyModel, Id, ViewModel

MOST_BLOCKS = 1_000
MOST = 2**31 - 1


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
    used: int = Field(ge=0, le=MOST)


class GivenBackBody(BodyModel):
    blocks: list[BlockBody] = Field(min_length=1, max_length=MOST_BLOCKS)


METERED = frozenset(("auth", "trading", "analytics", "notifications"))


class LeaseRoutes:
    """For the services that meter requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "POST",
                "/internal/v1/leases",
                self.lease_quota,
                "A block of a tenant's requests of the day",
                response=LeaseView,
                body=LeaseBody,
                callers=METERED,
                errors=(QuotaExceeded,),
            ),
            Endpoint(
                "POST",
                "/internal/v1/leases/given-back",
                self.give_back_quota,
                "Blocks that are used no more",
                body=GivenBackBody,
                callers=METERED,
            ),
        ]

    async def lease_quota(self, call: Call) -> LeaseView:
        asked = call.body(LeaseBody)
        if asked.service != call.service:
            raise Forbidden(f"{call.service} may not ask for {asked.service}")
        answer = await lease_block(
            self._database, asked.user_id, asked.service, asked.operation, asked.login_id, call.now
        )
        if isinstance(answer, Refused):
            raise QuotaExceeded(limit=answer.limit, used=answer.used, retry_after_s=answer.retry_after_s)
        return LeaseView(
            lease_id=answer.lease_id,
            granted=answer.granted,
            usable_ms=answer.usable // timedelta(milliseconds=1),
        )

    async def give_back_quota(self, call: Call) -> None:
        blocks = call.body(GivenBackBody).blocks
        await take_back(self._database, [GivenBack(block.user_id, block.lease_id, block.used) for block in blocks])
