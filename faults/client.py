"""Tenants as API clients: each call goes through the gateway and is recorded as ok, failed or unknown."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from uuid import UUID

import aiohttp

from faults.calls import CreatedObject, Outcome
from faults.evidence import Evidence, ReceivedAnswer, SentRequest, without_secrets
from shared.contracts.billing import PlanName
from shared.testing.api_client import Answer, Json, public_id_of
from shared.testing.tenant import KINDS, Tenant

CALL_TIMEOUT_S = 12.0
RETRY_DELAY_S = 0.5
MAX_TRIES = 200
UUID_IN_PATH = re.compile(r"(?<=/)[0-9a-f-]{36}(?=/|$)")

# The name of an object in the ledger, by the collection in which a POST creates it.
CREATED = {
    "/v1/strategies": "strategy",
    "/v1/bot-configurations": "configuration",
    "/v1/sessions": "session",
    "/v1/alerts": "alert",
    "/v1/watchlist": "watch",
    "/v1/exchange-accounts": "account",
}


@dataclass(kw_only=True)
class LoadTenant(Tenant):
    """A tenant whose calls are recorded.

    The status is 0 if no answer came. After that and after a 5xx, it is unknown whether a call had an effect.
    """

    evidence: Evidence
    draw: Random
    plan: PlanName = "PREMIUM"
    count: int = 0
    renews: bool = True

    @property
    def public_id(self) -> str | None:
        return str(public_id_of(self.token)) if self.token else None

    def next_name(self, what: str) -> str:
        """Return a name that is unique across all tenants."""
        self.count += 1
        return f"{what} {self.count} {self.canary}"

    async def send(
        self, method: str, path: str, body: Json | None, token: str, headers: Mapping[str, str]
    ) -> Answer:
        """Send a request and record it."""
        try:
            answer = await super().send(method, path, body, token, headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            answer = Answer(0)
        operation = f"{method} {UUID_IN_PATH.sub('{id}', path.partition('?')[0])}"
        made = _created_object(operation, answer)
        tenant = made.id if made and made.kind == "user" else self.public_id
        sent = SentRequest(tenant, operation, path, headers.get("Idempotency-Key"), without_secrets(body))
        request_id, shown = answer.headers.get("X-Request-Id"), without_secrets(answer.body)
        received = ReceivedAnswer(answer.status, request_id, made, shown) if answer.status else None
        self.evidence.note_call(sent, outcome_of(answer), received)
        return answer

    async def create(self, path: str, body: Json) -> Answer:
        """Repeat a request under one Idempotency-Key until its outcome is known, and keep the created object."""
        key = str(UUID(int=self.draw.getrandbits(128), version=4))
        for _ in range(MAX_TRIES):
            answer = await self.call("POST", path, body, Idempotency_Key=key)
            if outcome_of(answer) != "unknown" and not _in_flight(answer):
                if answer.ok and path in CREATED:
                    self.ids[KINDS[path]].append(answer.body[KINDS[path]])
                break
            await asyncio.sleep(RETRY_DELAY_S)
        return answer

    async def read(self, path: str) -> None:
        """GET a path and record the answer, to be searched later for data of other tenants."""
        answer = await self.call("GET", path)
        if outcome_of(answer) != "unknown":
            self.evidence.note_shown(self.public_id or "", self.canary, f"GET {path}", answer.raw)

    async def join(self) -> bool:
        """Register the account, or log in if an earlier registration had an effect but no answer."""
        body = {"email": self.email, "password": self.password, "timezone": "Europe/Rome", "language": "en"}
        registered = self.keep(await self.create("/v1/auth/register", body)).ok
        return registered or self.keep(await self.log_in(self.email, self.password)).ok

    async def renew(self) -> None:
        """Refresh the tokens. If that ends the login, the next call that needs a token logs in again."""
        self.keep(await self.refresh(self.refresh_token))


def outcome_of(answer: Answer) -> Outcome:
    if answer.ok:
        return "ok"
    return "failed" if 0 < answer.status < 500 else "unknown"


def _created_object(operation: str, answer: Answer) -> CreatedObject | None:
    if answer.ok and operation == "POST /v1/auth/register":
        return CreatedObject("user", answer.body["user"]["user_id"])
    method, _, path = operation.partition(" ")
    if answer.ok and method == "POST" and path in CREATED:
        return CreatedObject(CREATED[path], answer.body[KINDS[path]])
    return None


def _in_flight(answer: Answer) -> bool:
    """Return whether an earlier request with the same key is still being processed."""
    return answer.status == 409 and "idempotency" in str(answer.body.get("type", ""))
