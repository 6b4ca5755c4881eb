"""Leases of the quota of requests, from billing's internal listener."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from shared.chassis.errors import AccountNotReady, QuotaExceeded, Unavailable
from shared.chassis.service_tokens import ServiceTokens
from shared.chassis.settings import ServiceSettings

TIMEOUT_S = 5.0  # slow is not away: who is away is gone on without, above the quota
CONNECT_S = 2.0


class LeaseRequest(BaseModel):
    """For whom, and what it was that needed it: a refusal is noted with it."""

    user_id: int
    service: str = Field(max_length=40)
    operation: str = Field(max_length=200)
    login_id: UUID | None


class Lease(BaseModel):
    """A block of `granted` requests, to be used within `usable_ms` of asking for it."""

    lease_id: UUID
    granted: int = Field(ge=1)
    usable_ms: int = Field(ge=0)


class GivenBack(BaseModel):
    """A block that is no longer used, and how many of it were."""

    user_id: int
    lease_id: UUID
    used: int = Field(ge=0)


class _Refusal(BaseModel):
    """As much of the problem as is passed on."""

    type: str = ""
    limit: int = 0
    used: int = 0
    retry_after_s: int = 1


class Lessor(Protocol):
    async def lease(self, request: LeaseRequest) -> Lease:
        """Raises QuotaExceeded, AccountNotReady, and Unavailable where it does not answer."""
        ...

    async def give_back(self, blocks: Sequence[GivenBack]) -> None:
        """Raises Unavailable."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes


class BillingLessor:
    """Keeps its connections open."""

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
            raise Unavailable("the quota cannot be asked for at the moment") from error
        if refusal.type == f"/problems/{QuotaExceeded.type}":
            raise QuotaExceeded(limit=refusal.limit, used=refusal.used, retry_after_s=refusal.retry_after_s)
        if refusal.type == f"/problems/{AccountNotReady.type}":
            raise AccountNotReady
        raise Unavailable("the quota cannot be asked for at the moment")

    async def give_back(self, blocks: Sequence[GivenBack]) -> None:
        shown = ",".join(block.model_dump_json() for block in blocks)
        answer = await self._post(f"{self._url}/given-back", f'{{"blocks":[{shown}]}}')
        if answer.status != 204:
            raise Unavailable("the quota cannot be given back at the moment")

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
            raise Unavailable("the quota cannot be asked for at the moment") from error
