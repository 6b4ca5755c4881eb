"""I2: a call makes one thing at most, however often it is sent and whatever becomes of its answer."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from faults.calls import Call
from faults.checker.database import Connection
from faults.checker.things import KINDS, Kind, StoredRow, agrees, stored_things, values_of

Asked = tuple[str | None, str]  # tenant, and key (or the call itself where it has none)


async def made_twice(connection: Connection, calls: Sequence[Call]) -> list[str]:
    found = list(_two_for_one_key(calls))
    for kind in KINDS.values():
        if kind.name != "user":  # one per e-mail: told by SQL
            found += _unaccounted(kind, calls, await stored_things(connection, kind))
    return found


def _two_for_one_key(calls: Sequence[Call]) -> Iterator[str]:
    made: dict[Asked, dict[str, int]] = defaultdict(dict)
    for call in calls:
        if call.outcome == "ok" and call.made is not None and call.idempotency_key is not None:
            made[_asked(call)].setdefault(f"{call.made.kind} {call.made.id}", call.n)
    for (tenant, key), things in made.items():
        if len(things) > 1:
            told = " and ".join(f"{thing} (call {n})" for thing, n in things.items())
            yield f"the key {key} of tenant {tenant} made {told}"


def _unaccounted(kind: Kind, calls: Sequence[Call], stored: Mapping[str, StoredRow]) -> Iterator[str]:
    """Things that no answer told of: each must be the one of a call whose answer was lost for good."""
    by_key: dict[Asked, list[Call]] = defaultdict(list)
    for call in calls:
        if call.operation == kind.made_by:
            by_key[_asked(call)].append(call)
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
        like = [attempts[-1] for attempts in by_key.values() if _may_have_made(kind, attempts[0], thing)]
        why = ", ".join(f"call {call.n} (key {call.idempotency_key}) made {_told(call)}" for call in like)
        yield f"no call accounts for {kind.name} {id_} of tenant {thing.tenant}; {why or 'none is like it'}"


def _is_lost(attempts: Sequence[Call]) -> bool:
    """Nobody knows what became of it, and nobody will."""
    outcomes = {call.outcome for call in attempts}
    return "unknown" in outcomes and "ok" not in outcomes


def _told(call: Call) -> str:
    return call.made.id if call.made is not None else "something that it was not told of"


def _may_have_made(kind: Kind, call: Call, thing: StoredRow) -> bool:
    """What nobody was told of is as it was made: nobody could change it. Documents are stored in another form."""
    return call.tenant == thing.tenant and all(
        agrees(value, thing.row.get(column))
        for column, value in values_of(kind, call)
        if not isinstance(value, dict | list)
    )


def _asked(call: Call) -> Asked:
    return call.tenant, call.idempotency_key or f"call {call.n}"
