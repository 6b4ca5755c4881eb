"""A probe in which one tenant tries to reach another's data through every operation of the OpenAPI document."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tests.hostile.operations import Operation
from tests.integration.accounts import Json

UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"
# The kind of the id in a path, by the path before it. Add each new collection here, or its routes fail.
KINDS = {
    "/v1/strategies": "strategy_id",
    "/v1/strategies/published": "published_strategy_id",
    "/v1/strategies/templates": "template_id",
    "/v1/bot-configurations": "bot_configuration_id",
    "/v1/sessions": "session_id",
    "/v1/trades": "trade_id",
    "/v1/decisions": "decision_id",
    "/v1/fills": "fill_id",
    "/v1/backtests": "backtest_id",
    "/v1/alerts": "alert_id",
    "/v1/inbox": "event_id",
    "/v1/watchlist": "watch_id",
    "/v1/market-analysis": "analysis_id",
    "/v1/me/sessions": "login_id",
}
# Kinds that are open to every tenant. They show no more of their owner than the chosen display name.
OPEN_KINDS = frozenset({"published_strategy_id", "template_id"})
PATH_NAMES = re.compile("{id}({version})?")
# Headers that differ between any two answers.
OWN = {"x-request-id", "date", "content-length"}


class Caller(Protocol):
    @property
    def token(self) -> str: ...
    @property
    def canary(self) -> str: ...


class Tenant(Caller, Protocol):
    @property
    def ids(self) -> Mapping[str, list[str]]: ...
    @property
    def all_ids(self) -> list[str]: ...
    @property
    def private_ids(self) -> list[str]: ...


class AnswerLike(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


class Platform(Protocol):
    async def call(
        self,
        method: str,
        template: str,
        caller: Caller | None,
        path: str = "",
        body: Json | None = None,
        **headers: str,
    ) -> AnswerLike: ...


@dataclass(frozen=True)
class Probe:
    """`owner` has the data that `intruder` tries to reach.

    `recipes` are the intruder's own bodies by operation, `owners_recipes` the owner's.
    """

    platform: Platform
    owner: Tenant
    intruder: Tenant
    recipes: Mapping[str, Json]
    owners_recipes: Mapping[str, Json]
    kinds: Mapping[str, str] = field(default_factory=lambda: KINDS)

    async def faults(self, operations: Iterable[Operation]) -> list[str]:
        return [
            f"{operation.label}: {fault}" for operation in operations async for fault in self._faults_of(operation)
        ]

    async def _faults_of(self, operation: Operation) -> AsyncIterator[str]:
        for token in (None, _Stranger()):
            answer = await self.platform.call(operation.method, operation.path, token, *self._own(operation))
            if not operation.public and answer.status != 401:
                yield f"answers {answer.status} {'without a token' if token is None else 'to a token of nobody'}"
        if operation.public:
            return
        if operation.body_required and operation.label not in self.recipes:
            yield "takes a body for which there is no recipe"
            return
        if "{" in operation.path:
            async for fault in self._by_path(operation):
                yield fault
        async for fault in self._by_fields(operation):
            yield fault
        if operation.method == "GET":
            async for fault in self._by_listing(operation):
                yield fault
        if operation.method == "POST" and "{" not in operation.path:
            async for fault in self._by_key(operation):
                yield fault

    def _kind_of(self, path: str) -> str | None:
        return kind_of(path, self.kinds)

    def _own(self, operation: Operation) -> tuple[str, Json | None]:
        body = None if operation.body is None else self.recipes.get(operation.label, {})
        return with_id(operation.path, UNKNOWN_ID), body

    async def _by_path(self, operation: Operation) -> AsyncIterator[str]:
        kind = self._kind_of(operation.path)
        if kind is None or not PATH_NAMES.fullmatch("".join(re.findall(r"{\w+}", operation.path))):
            yield "has an id of which it is not known what it is the id of"
            return
        if not self.owner.ids.get(kind):
            yield f"is of a {kind}, and there is none to try it with"
            return
        nothing = await self._with(operation, UNKNOWN_ID)
        if nothing.status not in (403, 404):
            yield f"answers {nothing.status} to the id of nothing"
        for one in self.owner.private_ids if kind in OPEN_KINDS else self.owner.all_ids:
            found = await self._with(operation, one)
            if (difference := differs(found, one, nothing, UNKNOWN_ID)) is not None:
                yield f"with another's {one} {difference}"

    async def _with(self, operation: Operation, one: str) -> AnswerLike:
        _, body = self._own(operation)
        path = with_id(operation.path, one)
        return await self.platform.call(operation.method, operation.path, self.intruder, path, body)

    async def _by_fields(self, operation: Operation) -> AsyncIterator[str]:
        """Try ids in a query string or a body: the owner's ids must have the same effect as unknown ones."""
        _, own = self._own(operation)
        own_ids = {kind: several[0] for kind, several in self.intruder.ids.items() if several}
        path = with_id(operation.path, own_ids.get(self._kind_of(operation.path) or "", UNKNOWN_ID))
        for parameter in (*operation.query, *(operation.body or ())):
            if parameter.kind != "uuid" and not parameter.name.endswith("_id"):
                continue
            if not self.owner.ids.get(parameter.name):
                yield f"takes a {parameter.name}, and there is none to try it with"
                continue
            answers = []
            for one in (UNKNOWN_ID, *self.owner.ids[parameter.name]):
                if parameter in operation.query:
                    sent, body = f"{path}?{parameter.name}={one}", own
                else:
                    sent, body = path, {**own_ids_in(operation, own_ids), **(own or {}), parameter.name: one}
                answers.append(
                    (await self.platform.call(operation.method, operation.path, self.intruder, sent, body), one)
                )
            for found, one in answers[1:]:
                if (difference := differs(found, one, answers[0][0], UNKNOWN_ID)) is not None:
                    yield f"with another's {parameter.name} {one} {difference}"
                elif parameter not in operation.query and found.status < 400:
                    yield f"takes another's {parameter.name}: {found.status}"

    async def _by_listing(self, operation: Operation) -> AsyncIterator[str]:
        """Check that a list shows nothing of the owner, and that the owner's cursors do not work for the
        intruder."""
        own_ids = {kind: several[0] for kind, several in self.intruder.ids.items() if several}
        paths = [with_id(operation.path, own_ids.get(self._kind_of(operation.path) or "", UNKNOWN_ID))]
        if any(field.name == "cursor" for field in operation.query):
            owner_ids = {kind: several[0] for kind, several in self.owner.ids.items() if several}
            path = with_id(operation.path, owner_ids.get(self._kind_of(operation.path) or "", UNKNOWN_ID))
            page = await self.platform.call("GET", operation.path, self.owner, f"{path}?limit=1")
            if page.status == 200 and (cursor := json.loads(page.text).get("next_cursor")):
                paths += [f"{path}?cursor={cursor}" for path in (paths[0], path)]
        for path in paths:
            answer = await self.platform.call("GET", operation.path, self.intruder, path)
            for one in (*self.owner.private_ids, self.owner.canary):
                if one in answer.text and one not in path:
                    yield f"shows another's {one} at {path}"

    async def _by_key(self, operation: Operation) -> AsyncIterator[str]:
        """Check that an Idempotency-Key belongs to the tenant who sent it."""
        key = {"Idempotency_Key": f"the key of {self.owner.canary} to {operation.label}"}
        for caller, recipes in ((self.owner, self.owners_recipes), (self.intruder, self.recipes)):
            body = None if operation.body is None else recipes.get(operation.label, {})
            answer = await self.platform.call(operation.method, operation.path, caller, "", body, **key)
        replayed = answer.headers.get("Idempotent-Replayed") or "idempotency" in answer.text
        if replayed or self.owner.canary in answer.text:
            yield "gives one tenant the answer to another's Idempotency-Key"


@dataclass(frozen=True)
class _Stranger:
    """A token that is well-formed but unknown."""

    token: str = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ.eyJzdWIiOiIxIn0.AAAA"
    canary: str = ""


def kind_of(path: str, kinds: Mapping[str, str] = KINDS) -> str | None:
    return kinds.get(path.partition("/{")[0])


def with_id(path: str, one: str) -> str:
    """Replace the first placeholder by the id, and further ones by 1."""
    head, brace, tail = path.partition("{")
    return head + one + re.sub(r"{\w+}", "1", tail.partition("}")[2]) if brace else path


def own_ids_in(operation: Operation, own: Mapping[str, str]) -> Json:
    return {field.name: own[field.name] for field in operation.body or () if field.name in own}


def differs(found: AnswerLike, one: str, nothing: AnswerLike, other: str) -> str | None:
    """Return how the answer to `one` differs from the answer to `other`, or None. Each id is masked first."""
    if found.status != nothing.status:
        return f"answers {found.status}, with nothing's {nothing.status}"
    if _bare(found, one) != _bare(nothing, other):
        return "answers another body or other headers than with nothing's"
    return None


def _bare(answer: AnswerLike, one: str) -> tuple[str, dict[str, str]]:
    body = json.loads(answer.text) if answer.text else None
    if isinstance(body, dict):
        body.pop("request_id", None)
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in OWN}
    return json.dumps(body, sort_keys=True).replace(one, "{id}"), headers
