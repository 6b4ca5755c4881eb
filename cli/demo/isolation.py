"""Tries to access another tenant's data through every operation of the OpenAPI document."""

from collections.abc import Iterator, Mapping, Sequence

from shared.testing.api_client import Json
from shared.testing.isolation_probe import Probe
from shared.testing.operations import Operation
from shared.testing.tenant import KINDS, Tenant

IDS_PER_OPERATION = 3  # of its kind, and of others; keeps the total below the daily request limit of FREE
# Responses that change with the tenant's own requests.
SELF_COUNTING_PATHS = {"/v1/usage", "/v1/inbox/count"}


async def try_everything(
    operations: Sequence[Operation], owner: Tenant, intruder: Tenant, bodies: Mapping[str, Json]
) -> list[str]:
    """Return what the intruder gets of the owner, and what of the owner's data has changed. `bodies` are the
    intruder's, by operation."""
    before = await _snapshot(owner, operations)
    open_ids = set(_ids_in(await _snapshot(intruder, operations)))
    owner.ids = {}
    for kind, found in dict.fromkeys(_ids_in(before)):
        if (kind, found) not in open_ids:
            owner.ids.setdefault(kind, []).append(found)
    probe = Probe(owner, intruder, bodies, max_ids=IDS_PER_OPERATION)
    breaches = await probe.faults(operations)
    after = await _snapshot(owner, operations)
    changed = [path for path in before if not _is_unchanged(before[path], after[path])]
    return breaches + [f"data of the owner at {path} was changed" for path in changed]


async def _snapshot(tenant: Tenant, operations: Sequence[Operation]) -> dict[str, Json]:
    """Return the responses of all paths without ids, except those that count the tenant's own requests. A response
    other than 2xx, such as that of a path with a required query, counts as empty."""
    found = {}
    for operation in operations:
        readable = operation.method == "GET" and not operation.public and "{" not in operation.path
        if readable and operation.path not in SELF_COUNTING_PATHS:
            answer = await tenant.call("GET", operation.path + _oldest_first(operation))
            found[operation.path] = answer.body if answer.ok else {}
    return found


def _oldest_first(operation: Operation) -> str:
    """Return the query that sorts a list so that new items come last, if it has one."""
    orders = [order for field in operation.query if field.name == "sort" for order in field.schema.get("enum", ())]
    return next((f"?sort={order}" for order in orders if not order.startswith("-")), "")


def _ids_in(shown: object) -> Iterator[tuple[str, str]]:
    """Yield the ids in responses, each with the field that holds it."""
    if isinstance(shown, Mapping):
        yield from ((name, value) for name, value in shown.items() if value and name in KINDS.values())
        shown = list(shown.values())
    if isinstance(shown, list):
        for each in shown:
            yield from _ids_in(each)


def _is_unchanged(before: Json, after: Json) -> bool:
    """Compare two responses; lists may have grown, such as an inbox with notifications of own actions."""
    if "items" in before:
        return all(item in after.get("items", ()) for item in before["items"])
    return before == after
