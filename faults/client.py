"""Tenants as clients: every call goes through the gateway and is recorded as ok, failed or unknown."""

import asyncio
import json
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp

from faults.calls import Made, Outcome
from faults.evidence import Answered, Evidence, Sent, without_secrets
from shared.contracts.billing import PlanName

CALL_TIMEOUT_S = 12.0
RETRY_AFTER_S = 0.5
MOST_TRIES = 200
IN_FLIGHT = 409

Json: TypeAlias = dict[str, Any]  # Any: whatever JSON the platform answers

# What each kind of thing is called in the answer that shows it.
ID_FIELDS = {
    "strategy": "strategy_id",
    "configuration": "bot_configuration_id",
    "session": "session_id",
    "alert": "alert_id",
    "watch": "watch_id",
}


@dataclass
class Person:
    """A tenant: what only he knows, and what he made so far."""

    name: str
    email: str
    password: str
    canary: str
    draw: Random
    plan: PlanName = "PREMIUM"
    public_id: str = ""
    access_token: str = ""
    refresh_token: str = ""
    made: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in ID_FIELDS})
    count: int = 0

    def next_name(self, what: str) -> str:
        """Never the same twice, and nobody else's."""
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


class Caller:
    """Sends for anybody; None is an answer that never came, or one of 5xx: nobody knows what became of it."""

    def __init__(self, http: aiohttp.ClientSession, gateway: str, evidence: Evidence) -> None:
        self._http = http
        self._gateway = gateway
        self._evidence = evidence

    async def call(
        self,
        person: Person,
        operation: str,
        body: Json | None = None,
        *,
        id_: str = "",
        kind: str = "",
        key: str | None = None,
        query: str = "",
    ) -> ClientAnswer | None:
        """`operation` as the OpenAPI file has it: `POST /v1/sessions/{id}/stop`."""
        answer = await self._send(person, operation, body, id_, kind, key, query)
        refused = answer is not None and answer.status == 401 and not operation.startswith("POST /v1/auth/")
        if refused and await self.log_in(person):
            return await self._send(person, operation, body, id_, kind, key, query)
        return answer

    async def create(
        self, person: Person, operation: str, kind: str, body: Json, id_: str = ""
    ) -> ClientAnswer | None:
        """Under one Idempotency-Key until the answer is known; what was made is the person's from then on."""
        key = str(UUID(int=person.draw.getrandbits(128), version=4))
        for _ in range(MOST_TRIES):
            answer = await self.call(person, operation, body, id_=id_, kind=kind, key=key)
            if answer is not None and not _in_flight(answer):
                if answer.ok and (made := answer.body.get(ID_FIELDS.get(kind, ""))):
                    person.made[kind].append(made)
                return answer
            await asyncio.sleep(RETRY_AFTER_S)
        return None

    async def read(self, person: Person, path: str) -> ClientAnswer | None:
        """A GET whose answer is kept, to be looked through for what is somebody else's."""
        answer = await self.call(person, f"GET {path}")
        if answer is not None:
            self._evidence.note_shown(person.public_id, person.canary, f"GET {path}", answer.text)
        return answer

    async def register(self, person: Person) -> bool:
        """An account; one whose answer was lost is found by logging in."""
        body = {"email": person.email, "password": person.password, "timezone": "Europe/Rome", "language": "en"}
        answer = await self.create(person, "POST /v1/auth/register", "user", body)
        if answer is None:
            return False
        if not answer.ok:
            return await self.log_in(person)
        self._take_tokens(person, answer.body)
        return True

    async def log_in(self, person: Person) -> bool:
        body = {"email": person.email, "password": person.password}
        answer = await self.call(person, "POST /v1/auth/login", body)
        if answer is None or not answer.ok:
            return False
        self._take_tokens(person, answer.body)
        if not person.public_id and (me := await self.call(person, "GET /v1/me")) is not None and me.ok:
            person.public_id = me.body["user_id"]
        return True

    async def refresh(self, person: Person) -> None:
        """A log-in lost over it is made anew by the next call that needs it."""
        answer = await self.call(person, "POST /v1/auth/refresh", {"refresh_token": person.refresh_token})
        if answer is not None and answer.ok:
            self._take_tokens(person, answer.body)

    def _take_tokens(self, person: Person, body: Json) -> None:
        person.access_token, person.refresh_token = body["access_token"], body["refresh_token"]
        if "user" in body:
            person.public_id = body["user"]["user_id"]

    async def _send(
        self, person: Person, operation: str, body: Json | None, id_: str, kind: str, key: str | None, query: str
    ) -> ClientAnswer | None:
        method, _, template = operation.partition(" ")
        path = template.replace("{id}", id_) + query
        headers = {"Authorization": f"Bearer {person.access_token}"} if person.access_token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        try:
            async with self._http.request(
                method, self._gateway + path, json=body, headers=headers, timeout=TIMEOUT
            ) as reply:
                text, status = await reply.text(), reply.status
                request_id = reply.headers.get("X-Request-Id")
        except (aiohttp.ClientError, TimeoutError, OSError):
            sent = Sent(person.public_id or None, operation, path, key, without_secrets(body))
            self._evidence.note_call(sent, "unknown")
            return None
        answer = ClientAnswer(status, _object(text), text)
        if kind == "user" and answer.ok:
            person.public_id = answer.body["user"]["user_id"]
        sent = Sent(person.public_id or None, operation, path, key, without_secrets(body))
        answered = Answered(status, request_id, _made(kind, answer), without_secrets(answer.body))
        self._evidence.note_call(sent, _outcome(answer), answered)
        return answer if status < 500 else None


TIMEOUT = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)


def _outcome(answer: ClientAnswer) -> Outcome:
    if answer.ok:
        return "ok"
    return "failed" if answer.status < 500 else "unknown"


def _made(kind: str, answer: ClientAnswer) -> Made | None:
    if not kind or not answer.ok:
        return None
    return Made(kind, answer.body["user"]["user_id"] if kind == "user" else answer.body[ID_FIELDS[kind]])


def _in_flight(answer: ClientAnswer) -> bool:
    """The first of two with one key is still worked on: what becomes of it is not known yet."""
    return answer.status == IN_FLIGHT and "idempotency" in str(answer.body.get("type", ""))


def _object(text: str) -> Json:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {"body": body}
