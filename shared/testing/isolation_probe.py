"""A probe in which one tenant tries to reach another's data through every operation of the OpenAPI document."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace

from shared.testing.api_client import Answer, Json
from shared.testing.operations import UNKNOWN_ID, Operation
from shared.testing.tenant import OPEN_KINDS, Tenant, kind_of, with_id

PATH_NAMES = re.compile("{id}({version})?")
# Well-formed, but nobody's.
UNKNOWN_TOKEN = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ.eyJzdWIiOiIxIn0.AAAA"
# Headers that differ between any two answers.
OWN = {"x-request-id", "date", "content-length"}


@dataclass(frozen=True)
class Probe:
    """`owner` has the data that `intruder` tries to reach. `bodies` are the intruder's own by operation.

    Without `owners_bodies` nothing is created as the owner, and an owner who lacks some kind of object is no fault.
    """

    owner: Tenant
    intruder: Tenant
    bodies: Mapping[str, Json]
    owners_bodies: Mapping[str, Json] | None = None
    max_ids: int | None = None  # of the operation's own kind, and as many of other kinds

    async def faults(self, operations: Iterable[Operation]) -> list[str]:
        return [
            f"{operation.label}: {fault}" for operation in operations async for fault in self._faults_of(operation)
        ]

    async def _faults_of(self, operation: Operation) -> AsyncIterator[str]:
        path, body = with_id(operation.path, UNKNOWN_ID), self._body(operation)
        for token, whose in (("", "without a token"), (UNKNOWN_TOKEN, "to a token of nobody")):
            stranger = replace(self.intruder, token=token, canary="", renews=False)
            answer = await stranger.call(operation.method, path, body)
            if not operation.public and answer.status != 401:
                yield f"answers {answer.status} {whose}"
        if operation.public:
            return
        if operation.body_required and operation.label not in self.bodies:
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
        if operation.method == "POST" and "{" not in operation.path and self.owners_bodies is not None:
            async for fault in self._by_key(operation, self.owners_bodies):
                yield fault

    def _body(self, operation: Operation) -> Json | None:
        return None if operation.body is None else self.bodies.get(operation.label, {})

    def _sample(self, ids: list[str]) -> list[str]:
        """Return at most `max_ids`, evenly spread."""
        return ids if self.max_ids is None else ids[:: max(1, -(-len(ids) // self.max_ids))]

    async def _by_path(self, operation: Operation) -> AsyncIterator[str]:
        kind = kind_of(operation.path)
        if kind is None or not PATH_NAMES.fullmatch("".join(re.findall(r"{\w+}", operation.path))):
            yield "has an id of which it is not known what it is the id of"
            return
        if not self.owner.ids.get(kind) and self.owners_bodies is not None:
            yield f"is of a {kind}, and there is none to try it with"
            return
        nothing = await self._with(operation, UNKNOWN_ID)
        if nothing.status not in (403, 404):
            yield f"answers {nothing.status} to the id of nothing"
        ids = self.owner.private_ids if kind in OPEN_KINDS else self.owner.all_ids
        own = [one for one in ids if one in self.owner.ids.get(kind, ())]
        others = [one for one in ids if one not in own]
        for one in (*self._sample(own), *self._sample(others)):
            found = await self._with(operation, one)
            if (difference := differs(found, one, nothing, UNKNOWN_ID)) is not None:
                yield f"with another's {one} {difference}"

    async def _with(self, operation: Operation, one: str) -> Answer:
        path = with_id(operation.path, one)
        return await self.intruder.call(operation.method, path, self._body(operation))

    async def _by_fields(self, operation: Operation) -> AsyncIterator[str]:
        """Try ids in a query string or a body: the owner's ids must have the same effect as unknown ones."""
        own = self._body(operation) or {}
        path = _path_of(operation, self.intruder)
        for parameter in (*operation.query, *(operation.body or ())):
            if parameter.kind != "uuid" and not parameter.name.endswith("_id"):
                continue
            ids = self._sample(self.owner.ids.get(parameter.name, []))
            if not ids and self.owners_bodies is not None:
                yield f"takes a {parameter.name}, and there is none to try it with"
            answers = []
            for one in (UNKNOWN_ID, *ids):
                if parameter in operation.query:
                    sent, body = f"{path}?{parameter.name}={one}", self._body(operation)
                else:
                    sent, body = path, {**self._own_ids(operation), **own, parameter.name: one}
                answers.append((await self.intruder.call(operation.method, sent, body), one))
            for found, one in answers[1:]:
                if (difference := differs(found, one, answers[0][0], UNKNOWN_ID)) is not None:
                    yield f"with another's {parameter.name} {one} {difference}"
                elif parameter not in operation.query and found.status < 400:
                    yield f"takes another's {parameter.name}: {found.status}"

    def _own_ids(self, operation: Operation) -> Json:
        named = [field.name for field in operation.body or () if self.intruder.ids.get(field.name)]
        return {name: self.intruder.first_id(name) for name in named}

    async def _by_listing(self, operation: Operation) -> AsyncIterator[str]:
        """Check that a list shows nothing of the owner, and that the owner's cursors do not work for the
        intruder."""
        paths = [_path_of(operation, self.intruder)]
        if any(field.name == "cursor" for field in operation.query):
            path = _path_of(operation, self.owner)
            page = await self.owner.call("GET", f"{path}?limit=1")
            if page.status == 200 and (cursor := page.body.get("next_cursor")):
                paths += [f"{path}?cursor={cursor}" for path in (paths[0], path)]
        for path in paths:
            answer = await self.intruder.call("GET", path)
            for one in (*self.owner.private_ids, self.owner.canary):
                if one in answer.raw and one not in path:
                    yield f"shows another's {one} at {path}"

    async def _by_key(self, operation: Operation, owners_bodies: Mapping[str, Json]) -> AsyncIterator[str]:
        """Check that an Idempotency-Key belongs to the tenant who sent it."""
        key = f"the key of {self.owner.canary} to {operation.label}"
        for caller, bodies in ((self.owner, owners_bodies), (self.intruder, self.bodies)):
            body = None if operation.body is None else bodies.get(operation.label, {})
            answer = await caller.call("POST", operation.path, body, Idempotency_Key=key)
        replayed = answer.headers.get("Idempotent-Replayed") or "idempotency" in answer.raw
        if replayed or self.owner.canary in answer.raw:
            yield "gives one tenant the answer to another's Idempotency-Key"


def _path_of(operation: Operation, tenant: Tenant) -> str:
    """Return the operation's path with an id of the tenant's own."""
    return with_id(operation.path, tenant.first_id(kind_of(operation.path) or ""))


def differs(found: Answer, one: str, nothing: Answer, other: str) -> str | None:
    """Return how the answer to `one` differs from the answer to `other`, or None. Each id is masked first."""
    if found.status != nothing.status:
        return f"answers {found.status}, with nothing's {nothing.status}"
    if _bare(found, one) != _bare(nothing, other):
        return "answers another body or other headers than with nothing's"
    return None


def _bare(answer: Answer, one: str) -> tuple[str, dict[str, str]]:
    body = {name: value for name, value in answer.body.items() if name != "request_id"}
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in OWN}
    return (json.dumps(body, sort_keys=True) if body else answer.raw).replace(one, "{id}"), headers
