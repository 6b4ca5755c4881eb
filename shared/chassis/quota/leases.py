"""The client of billing's internal listener, which leases blocks of the request quota."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from shared.chassis.errors import AccountNotReady, QuotaExceeded, Unavailable
from shared.chassis.service_tokens import ServiceTokens
from shared.chassis.settings import ServiceSettings

TIMEOUT_S = (
    5.0  # generous: once billing counts as unreachable, requests are served without a lease, above the quota
)
CONNECT_S = 2.0


class LeaseRequest(BaseModel):
    """The tenant, and the operation that needs a block; billing records a refusal with it."""

    user_id: int
    service: str = Field(max_length=40)
    operation: str = Field(max_length=200)
    login_id: UUID | None


class Lease(BaseModel):
    """A block of `granted` requests, usable for `usable_ms` after it was requested."""

    lease_id: UUID
    granted: int = Field(ge=1)
    usable_ms: int = Field(ge=0)


class ReturnedBlock(BaseModel):
    """A block that is no longer used, and how many of its requests were used."""

    user_id: int
    lease_id: UUID
    used: int = Field(ge=0)


class _Refusal(BaseModel):
    """The fields of billing's problem that are passed on."""

    type: str = ""
    limit: int = 0
    used: int = 0
    retry_after_s: int = 1


class Lessor(Protocol):
    async def lease(self, request: LeaseRequest) -> Lease:
        """Raises QuotaExceeded, AccountNotReady, or Unavailable if billing does not answer."""
        ...

    async def return_blocks(self, blocks: Sequence[ReturnedBlock]) -> None:
        """Raises Unavailable."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes


class BillingLessor:
    """Leases blocks over HTTP; keeps its connections open."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._url = settings.billing_internal_url.rstrip("/") + "/internal/v1/leases"
        self._tokens = ServiceTokens(settings.service, settings.service_key_file)
        self._session: aiohttp.ClientSession | None = None

    async def lease(self, request: LeaseRequest) -> Lease:
        answer = await self._post(self._url, request.model_dump_json())
        try:
            if answer.status == 200:
                return Lease.model_validate_json(answer.body)
            refusal = _Refusal.model_validate_json(answer.body)
        except ValidationError as error:
            raise Unavailable("the quota cannot be checked at the moment") from error
        if refusal.type == f"/problems/{QuotaExceeded.type}":
            raise QuotaExceeded(limit=refusal.limit, used=refusal.used, retry_after_s=refusal.retry_after_s)
        if refusal.type == f"/problems/{AccountNotReady.type}":
            raise AccountNotReady
        raise Unavailable("the quota cannot be checked at the moment")

    async def return_blocks(self, blocks: Sequence[ReturnedBlock]) -> None:
        shown = ",".join(block.model_dump_json() for block in blocks)
        answer = await self._post(f"{self._url}/given-back", f'{{"blocks":[{shown}]}}')
        if answer.status != 204:
            raise Unavailable("the block cannot be returned at the moment")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, url: str, body: str) -> _Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_S)
            )
        headers = {"Content-Type": "application/json", **self._tokens.authorization("billing")}
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                return _Answer(answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("the quota cannot be checked at the moment") from error
