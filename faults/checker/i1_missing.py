"""I1: everything that a call acknowledged is stored, with the values that were sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from faults.calls import Call
from faults.checker.database import Connection
from faults.checker.things import KINDS, Kind, StoredRow, agrees, stored_things, target_of, values_of

STATUSES = {"stop": "STOPPED", "pause": "PAUSED", "resume": "ACTIVE"}
WRITING = ("PUT", "PATCH")


@dataclass
class Expected:
    """The expected state of one object after all calls.

    A call without an answer may have taken effect at any time since it was sent, or never.
    """

    kind: Kind
    id: str
    made_by: Call
    acknowledged: dict[str, tuple[object, Call]] = field(default_factory=dict)
    possible: dict[str, list[object]] = field(default_factory=dict)
    removed_by: Call | None = None
    maybe_removed: bool = False

    def write(self, call: Call, column: str, value: object) -> None:
        if call.outcome == "unknown":
            self.possible.setdefault(column, []).append(value)
        else:
            self.acknowledged[column] = (value, call)

    def remove(self, call: Call) -> None:
        self.maybe_removed = True
        if call.outcome == "ok":
            self.removed_by = call


async def find_missing(connection: Connection, calls: Sequence[Call]) -> list[str]:
    stored = {kind.name: await stored_things(connection, kind) for kind in KINDS.values()}
    found = [
        fault
        for expected in _expected(calls).values()
        for fault in _compare(expected, stored[expected.kind.name].get(expected.id))
    ]
    found += [
        f"{_describe(call)} made {call.made.kind} {call.made.id}, a kind that the checker does not know"
        for call in calls
        if call.made is not None and call.made.kind not in KINDS
    ]
    return found + await _find_missing_versions(connection, calls)


def _expected(calls: Sequence[Call]) -> dict[tuple[str, str], Expected]:
    things: dict[tuple[str, str], Expected] = {}
    for call in calls:
        if call.outcome == "ok" and call.made is not None and (kind := KINDS.get(call.made.kind)):
            made = things.setdefault((kind.name, call.made.id), Expected(kind, call.made.id, call))
            if made.made_by is call:
                for column, value in values_of(kind, call):
                    made.write(call, column, value)
                if kind.name == "session":
                    made.write(call, "status", "ACTIVE")
        elif call.outcome != "failed" and (target := target_of(call)):
            kind, id_, verb = target
            if expected := things.get((kind.name, id_)):
                _apply(expected, call, verb)
    return things


def _apply(expected: Expected, call: Call, verb: str) -> None:
    method = call.operation.partition(" ")[0]
    if method == "DELETE" and not verb:
        expected.remove(call)
    elif (method in WRITING and not verb) or verb == "versions":
        for column, value in values_of(expected.kind, call):
            if value is not None or method == "PUT":
                expected.write(call, column, value)
    elif verb in STATUSES:
        expected.write(call, "status", STATUSES[verb])


def _compare(expected: Expected, stored: StoredRow | None) -> Iterator[str]:
    what = f"{expected.kind.name} {expected.id}"
    made = expected.made_by
    there = stored is not None and stored.alive
    if expected.removed_by is not None:
        if there:
            yield f"{what}: {_describe(expected.removed_by)} removed it, and it is there"
        return
    if stored is None or not there:
        if not expected.maybe_removed:
            yield f"{what}: {_describe(made)} made it, and it is not there"
        return
    if made.tenant is not None and stored.tenant != made.tenant:
        yield f"{what}: {_describe(made)} made it for tenant {made.tenant}, and it is of tenant {stored.tenant}"
    for column, (value, call) in expected.acknowledged.items():
        has = _stored_value(stored, column)
        possible = expected.possible.get(column, [])
        if any(isinstance(each, dict | list) for each in possible):
            continue  # the stored form of such a document is unknown, because no answer showed it
        if not any(agrees(each, has) for each in (value, *possible)) and not _changed_by_itself(
            expected, stored, column
        ):
            yield f"{what}: its {column} is {has!r}, and {_describe(call)} was sent {value!r}"


def _stored_value(stored: StoredRow, column: str) -> object:
    return stored.row.get(column, "no such column")


def _changed_by_itself(expected: Expected, stored: StoredRow, column: str) -> bool:
    """Return whether the platform itself may change the column.

    It deactivates alerts that expire, and detaches sessions from a configuration that is removed.
    """
    if expected.kind.name == "alert" and column == "is_active":
        return stored.row["expires_at"] is not None
    return column == "bot_configuration_id" and stored.row[column] is None


async def _find_missing_versions(connection: Connection, calls: Sequence[Call]) -> list[str]:
    """Check that each acknowledged version of a strategy is stored."""
    rows = await connection.fetch("SELECT strategy_id::text, version, content_hash FROM trading.strategy_versions")
    known = {(row["strategy_id"], row["version"]): row["content_hash"] for row in rows}
    found = []
    for call in calls:
        answer = call.answer or {}
        if call.outcome == "ok" and call.sent and "content_hash" in answer:
            name = (answer["strategy_id"], answer["version"])
            if known.get(name) != answer["content_hash"]:
                found.append(
                    f"strategy {name[0]}: {_describe(call)} made version {name[1]} with the content "
                    f"{answer['content_hash']}, and it is {known.get(name, 'not there')}"
                )
    return found


def _describe(call: Call) -> str:
    return f"call {call.n} ({call.operation}, request {call.request_id})"
