"""I2: a call creates at most one object, however often it is sent and even if its answer is lost."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from faults.calls import Call
from faults.checker.database import Connection
from faults.checker.things import KINDS, Kind, StoredRow, agrees, stored_things, values_of

RequestKey = tuple[str | None, str]  # tenant, and idempotency key (or the call's number if it has none)


async def find_duplicates(connection: Connection, calls: Sequence[Call]) -> list[str]:
    found = list(_find_reused_keys(calls))
    for kind in KINDS.values():
        if kind.name != "user":  # one per e-mail: checked in SQL
            found += _find_unaccounted(kind, calls, await stored_things(connection, kind))
    return found


def _find_reused_keys(calls: Sequence[Call]) -> Iterator[str]:
    made: dict[RequestKey, dict[str, int]] = defaultdict(dict)
    for call in calls:
        if call.outcome == "ok" and call.made is not None and call.idempotency_key is not None:
            made[_request_of(call)].setdefault(f"{call.made.kind} {call.made.id}", call.n)
    for (tenant, key), things in made.items():
        if len(things) > 1:
            created = " and ".join(f"{thing} (call {n})" for thing, n in things.items())
            yield f"the key {key} of tenant {tenant} made {created}"


def _find_unaccounted(kind: Kind, calls: Sequence[Call], stored: Mapping[str, StoredRow]) -> Iterator[str]:
    """Yield stored objects that no answer named and that no call with a lost answer accounts for."""
    by_key: dict[RequestKey, list[Call]] = defaultdict(list)
    for call in calls:
        if call.operation == kind.made_by:
            by_key[_request_of(call)].append(call)
    known = {call.made.id for call in calls if call.made is not None and call.made.kind == kind.name}
    tenants = {call.tenant for call in calls if call.tenant is not None}
    lost = {key: attempts for key, attempts in by_key.items() if _is_lost(attempts)}
    for id_, thing in sorted(stored.items()):
        if id_ in known or thing.tenant not in tenants:
            continue
        lost_key = next((key for key, attempts in lost.items() if _may_have_made(kind, attempts[0], thing)), None)
        if lost_key is not None:
            del lost[lost_key]
            continue
        similar = [attempts[-1] for attempts in by_key.values() if _may_have_made(kind, attempts[0], thing)]
        why = ", ".join(
            f"call {call.n} (key {call.idempotency_key}) made {_describe_created(call)}" for call in similar
        )
        yield f"no call accounts for {kind.name} {id_} of tenant {thing.tenant}; {why or 'no call is similar'}"


def _is_lost(attempts: Sequence[Call]) -> bool:
    """Return whether the outcome is unknown for good: no attempt was answered with success."""
    outcomes = {call.outcome for call in attempts}
    return "unknown" in outcomes and "ok" not in outcomes


def _describe_created(call: Call) -> str:
    return call.made.id if call.made is not None else "an unknown object"


def _may_have_made(kind: Kind, call: Call, thing: StoredRow) -> bool:
    """Compare the object with the call's body. Nobody knew its id, so nobody can have changed it since.

    Documents are skipped, because they are stored in another form.
    """
    return call.tenant == thing.tenant and all(
        agrees(value, thing.row.get(column))
        for column, value in values_of(kind, call)
        if not isinstance(value, dict | list)
    )


def _request_of(call: Call) -> RequestKey:
    return call.tenant, call.idempotency_key or f"call {call.n}"
