"""Tenants as API clients: each call goes through the gateway and is recorded as ok, failed or unknown."""

import asyncio
import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp

from faults.calls import CreatedObject, Outcome
from faults.evidence import Evidence, ReceivedAnswer, SentRequest, without_secrets
from shared.contracts.billing import PlanName

CALL_TIMEOUT_S = 12.0
RETRY_DELAY_S = 0.5
MAX_TRIES = 200
IN_FLIGHT = 409

Json: TypeAlias = dict[str, Any]  # Any: JSON of an answer

# The field of an answer that holds the id, per kind of object.
ID_FIELDS = {
    "strategy": "strategy_id",
    "configuration": "bot_configuration_id",
    "session": "session_id",
    "alert": "alert_id",
    "watch": "watch_id",
}


@dataclass
class Tenant:
    """A tenant's credentials and the objects that the tenant created so far."""

    name: str
    email: str
    password: str
    canary: str
    draw: Random
    plan: PlanName = "PREMIUM"
    public_id: str = ""
    access_token: str = ""
    refresh_token: str = ""
    created: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in ID_FIELDS})
    count: int = 0

    def next_name(self, what: str) -> str:
        """Return a name that is unique across all tenants."""
        self.count += 1
        return f"{what} {self.count} {self.canary}"


@dataclass(frozen=True)
class ClientAnswer:
    status: int
    body: Json
    text: str

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class GatewayClient:
    """Sends calls for any tenant. Calls return None if no answer came or it was a 5xx: the outcome is unknown."""

    def __init__(self, http: aiohttp.ClientSession, gateway: str, evidence: Evidence) -> None:
        self._http = http
        self._gateway = gateway
        self._evidence = evidence

    async def call(
        self,
        tenant: Tenant,
        operation: str,
        body: Json | None = None,
        *,
        id_: str = "",
        kind: str = "",
        key: str | None = None,
        query: str = "",
    ) -> ClientAnswer | None:
        """Send a request; log in again after a 401. `operation` is as in OpenAPI: `POST /v1/sessions/{id}/stop`."""
        answer = await self._send(tenant, operation, body, id_, kind, key, query)
        refused = answer is not None and answer.status == 401 and not operation.startswith("POST /v1/auth/")
        if refused and await self.log_in(tenant):
            return await self._send(tenant, operation, body, id_, kind, key, query)
        return answer

    async def create(
        self, tenant: Tenant, operation: str, kind: str, body: Json, id_: str = ""
    ) -> ClientAnswer | None:
        """Repeat a request under one Idempotency-Key until its outcome is known, and record the created object."""
        key = str(UUID(int=tenant.draw.getrandbits(128), version=4))
        for _ in range(MAX_TRIES):
            answer = await self.call(tenant, operation, body, id_=id_, kind=kind, key=key)
            if answer is not None and not _in_flight(answer):
                if answer.ok and (made := answer.body.get(ID_FIELDS.get(kind, ""))):
                    tenant.created[kind].append(made)
                return answer
            await asyncio.sleep(RETRY_DELAY_S)
        return None

    async def read(self, tenant: Tenant, path: str) -> ClientAnswer | None:
        """GET a path and record the answer, to be searched later for data of other tenants."""
        answer = await self.call(tenant, f"GET {path}")
        if answer is not None:
            self._evidence.note_shown(tenant.public_id, tenant.canary, f"GET {path}", answer.text)
        return answer

    async def register(self, tenant: Tenant) -> bool:
        """Register the account, or log in if an earlier registration had an effect but no answer."""
        body = {"email": tenant.email, "password": tenant.password, "timezone": "Europe/Rome", "language": "en"}
        answer = await self.create(tenant, "POST /v1/auth/register", "user", body)
        if answer is None:
            return False
        if not answer.ok:
            return await self.log_in(tenant)
        self._take_tokens(tenant, answer.body)
        return True

    async def log_in(self, tenant: Tenant) -> bool:
        body = {"email": tenant.email, "password": tenant.password}
        answer = await self.call(tenant, "POST /v1/auth/login", body)
        if answer is None or not answer.ok:
            return False
        self._take_tokens(tenant, answer.body)
        if not tenant.public_id and (me := await self.call(tenant, "GET /v1/me")) is not None and me.ok:
            tenant.public_id = me.body["user_id"]
        return True

    async def refresh(self, tenant: Tenant) -> None:
        """Refresh the tokens. If that ends the login, the next call that needs a token logs in again."""
        answer = await self.call(tenant, "POST /v1/auth/refresh", {"refresh_token": tenant.refresh_token})
        if answer is not None and answer.ok:
            self._take_tokens(tenant, answer.body)

    def _take_tokens(self, tenant: Tenant, body: Json) -> None:
        tenant.access_token, tenant.refresh_token = body["access_token"], body["refresh_token"]
        if "user" in body:
            tenant.public_id = body["user"]["user_id"]

    async def _send(
        self, tenant: Tenant, operation: str, body: Json | None, id_: str, kind: str, key: str | None, query: str
    ) -> ClientAnswer | None:
        method, _, template = operation.partition(" ")
        path = template.replace("{id}", id_) + query
        headers = {"Authorization": f"Bearer {tenant.access_token}"} if tenant.access_token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        try:
            async with self._http.request(
                method, self._gateway + path, json=body, headers=headers, timeout=TIMEOUT
            ) as reply:
                text, status = await reply.text(), reply.status
                request_id = reply.headers.get("X-Request-Id")
        except (aiohttp.ClientError, TimeoutError, OSError):
            sent = SentRequest(tenant.public_id or None, operation, path, key, without_secrets(body))
            self._evidence.note_call(sent, "unknown")
            return None
        answer = ClientAnswer(status, _parse_object(text), text)
        if kind == "user" and answer.ok:
            tenant.public_id = answer.body["user"]["user_id"]
        sent = SentRequest(tenant.public_id or None, operation, path, key, without_secrets(body))
        answered = ReceivedAnswer(status, request_id, _created_object(kind, answer), without_secrets(answer.body))
        self._evidence.note_call(sent, _outcome(answer), answered)
        return answer if status < 500 else None


TIMEOUT = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)


def _outcome(answer: ClientAnswer) -> Outcome:
    if answer.ok:
        return "ok"
    return "failed" if answer.status < 500 else "unknown"


def _created_object(kind: str, answer: ClientAnswer) -> CreatedObject | None:
    if not kind or not answer.ok:
        return None
    return CreatedObject(kind, answer.body["user"]["user_id"] if kind == "user" else answer.body[ID_FIELDS[kind]])


def _in_flight(answer: ClientAnswer) -> bool:
    """Return whether an earlier request with the same key is still being processed."""
    return answer.status == IN_FLIGHT and "idempotency" in str(answer.body.get("type", ""))


def _parse_object(text: str) -> Json:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {"body": body}
