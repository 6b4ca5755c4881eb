"""Tries to access another tenant's data through every operation of the OpenAPI files, with every known id."""

import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cli.demo.api import ApiAnswer, Client

UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"
IDS_PER_OPERATION = 8  # keeps the total below the daily request limit of FREE
METHODS = ("get", "post", "put", "patch", "delete")
UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Data that all users may see.
PUBLIC = ("/v1/plans", "/v1/candles")
# Responses that change with the tenant's own requests.
SELF_COUNTING_PATHS = {"/v1/usage", "/v1/inbox/count"}


@dataclass
class IsolationReport:
    tried: int = 0
    operations: int = 0
    breaches: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    parameters: tuple[str, ...]
    query: tuple[str, ...]
    has_body: bool
    ascending: Mapping[str, str]  # the query that sorts a list so that new items come last


async def try_everything(openapi: Iterable[Any], owner: Client, intruder: Client) -> IsolationReport:
    """Check that the intruder gets nothing of the owner: each response equals that for an unknown id."""
    operations = [operation for document in openapi for operation in _operations(document)]
    readable = [operation for operation in operations if operation.method == "get" and not operation.parameters]
    owned = sorted({found async for found in _visible_ids(owner, readable)})
    known_to_intruder = {found async for found in _visible_ids(intruder, readable)}
    secrets = [found for found in owned if found not in known_to_intruder]
    report = IsolationReport(operations=len(operations))
    before = await _snapshot(owner, readable)
    for operation in operations:
        await _try(operation, secrets, intruder, report)
    after = await _snapshot(owner, readable)
    report.breaches += [
        f"data of the owner at {path} was changed"
        for path in before
        if not _is_unchanged(before[path], after[path])
    ]
    return report


def _is_unchanged(before: object, after: object) -> bool:
    """Compare two responses; lists may have grown, such as an inbox with notifications of own actions."""
    if isinstance(before, dict) and isinstance(after, dict) and "items" in before:
        return all(item in after.get("items", ()) for item in before["items"])
    return before == after


def _operations(document: Any) -> Iterable[Operation]:
    for path, methods in document["paths"].items():
        if path.startswith(PUBLIC):
            continue
        for method in METHODS:
            if method in methods and methods[method].get("security"):
                described = methods[method]
                query = {p["name"]: p["schema"] for p in described.get("parameters", []) if p["in"] == "query"}
                ascending = [order for order in query.get("sort", {}).get("enum", []) if not order.startswith("-")]
                yield Operation(
                    method,
                    path,
                    tuple(re.findall(r"{(\w+)}", path)),
                    tuple(query),
                    "requestBody" in described,
                    {"sort": ascending[0]} if ascending else {},
                )


async def _visible_ids(client: Client, readable: Iterable[Operation]) -> AsyncIterator[str]:
    for operation in readable:
        answer = await client.call("GET", operation.path)
        if answer.status == 200:
            for found in UUID_TEXT.findall(json.dumps(answer.body)):
                yield str(UUID(found))


async def _snapshot(client: Client, readable: Iterable[Operation]) -> dict[str, object]:
    """Return the responses of all readable paths, except those that count the tenant's own requests."""
    answers = {
        operation.path: await client.call("GET", operation.path, **operation.ascending)
        for operation in readable
        if operation.path not in SELF_COUNTING_PATHS
    }
    return {path: answer.body if answer.status == 200 else answer.status for path, answer in answers.items()}


async def _try(operation: Operation, owned: list[str], intruder: Client, report: IsolationReport) -> None:
    if operation.parameters:
        unknown = await _call(operation, UNKNOWN_ID, intruder)
        for one in _sample(owned):
            report.tried += 1
            answer = await _call(operation, one, intruder)
            if not 400 <= answer.status < 500 or _normalize(answer, one) != _normalize(unknown, UNKNOWN_ID):
                report.breaches.append(f"{operation.method} {operation.path} with {one}: {answer.status}")
    elif operation.method == "get":
        queries = [
            {},
            *({name: one} for name in operation.query if name.endswith("_id") for one in _sample(owned)),
        ]
        for query in queries:
            report.tried += 1
            answer = await intruder.call("GET", operation.path, **query)
            shown = json.dumps(answer.body)
            asked_for = set(query.values())
            if leaked := [one for one in owned if one in shown and one not in asked_for]:
                report.breaches.append(f"GET {operation.path} returns {leaked[0]}")
            if query and answer.status == 200 and isinstance(answer.body, dict) and answer.body.get("items"):
                report.breaches.append(f"GET {operation.path} returns items for {query}")


async def _call(operation: Operation, one: str, intruder: Client) -> ApiAnswer:
    path = operation.path
    for name in operation.parameters:
        path = path.replace("{" + name + "}", one)
    return await intruder.call(operation.method.upper(), path, {} if operation.has_body else None)


def _sample(owned: list[str]) -> list[str]:
    """Return a sample, evenly spread, if there are more than IDS_PER_OPERATION."""
    return owned[:: max(1, len(owned) // IDS_PER_OPERATION)]


def _normalize(answer: ApiAnswer, one: str) -> tuple[int, str]:
    body = (
        {k: v for k, v in answer.body.items() if k != "request_id"}
        if isinstance(answer.body, dict)
        else answer.body
    )
    return answer.status, json.dumps(body, sort_keys=True).replace(one, "{id}")
