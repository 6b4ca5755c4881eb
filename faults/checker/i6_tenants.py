"""I6: finds canaries of one tenant in answers to or events of another, and canaries and secrets in logs."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from faults.checker.database import Connection
from faults.checker.evidence import Evidence

JSON_WEB_TOKEN = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")
SECRET_FIELD = re.compile(
    rb'"(?:password|access_token|refresh_token|authorization)\\*"\s*:\s*\\*"(?!\[redacted\])', re.I
)
SHOWN_SECRET_CHARS = 12


class Canaries:
    """Finds the canaries in a text, with their owners."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        self._owners = owners
        self._prefix = _common_prefix(list(owners))

    def found_in(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield each canary in the text with its owner."""
        if self._prefix in text:
            yield from ((canary, owner) for canary, owner in self._owners.items() if canary in text)


def find_in_responses(evidence: Evidence) -> Iterator[str]:
    canaries = Canaries(evidence.canaries())
    for shown in evidence.shown:
        for canary, owner in canaries.found_in(shown.text):
            if owner != shown.tenant:
                yield f"{shown.where} showed tenant {shown.tenant} the canary {canary} of tenant {owner}"
    for call in evidence.calls:
        for canary, owner in canaries.found_in(json.dumps(call.answer)):
            if call.tenant is not None and owner != call.tenant:
                yield f"call {call.n} ({call.operation}) showed tenant {call.tenant} the canary {canary} of {owner}"


async def find_in_events(connection: Connection, evidence: Evidence) -> list[str]:
    """Check all messages, dead letters included."""
    users = {str(row["public_id"]): str(row["user_id"]) for row in await connection.fetch(USERS)}
    canaries = Canaries(evidence.canaries())
    return [
        f"{message.topic}/{message.partition}/{message.offset} (key {message.key}) holds the canary {canary} of "
        f"tenant {owner}, user {users.get(owner)}"
        for message in evidence.messages
        for canary, owner in canaries.found_in(message.value + json.dumps(dict(message.headers)))
        if users.get(owner) != message.key
    ]


def _common_prefix(texts: Sequence[str]) -> str:
    pairs = zip(min(texts, default=""), max(texts, default=""), strict=False)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


USERS = "SELECT user_id, public_id FROM auth.users"


def find_in_logs(evidence: Evidence) -> Iterator[str]:
    """Check that logs hold neither text written by a tenant nor secrets."""
    owners = evidence.canaries()
    for file in evidence.logs:
        content = file.read_bytes()
        for canary, owner in owners.items():
            if (place := content.find(canary.encode())) >= 0:
                yield f"{_place(file, content, place)} holds the canary {canary} of tenant {owner}"
        yield from _matches(file, content, JSON_WEB_TOKEN.finditer(content), "a token")
        yield from _matches(file, content, SECRET_FIELD.finditer(content), "a secret field")


def _matches(file: Path, content: bytes, matches: Iterable["re.Match[bytes]"], what: str) -> Iterator[str]:
    """Yield each match, shortened to its first characters: the report must not leak the secret either."""
    for match in matches:
        beginning = match.group()[:SHOWN_SECRET_CHARS].decode(errors="replace")
        yield f"{_place(file, content, match.start())} holds {what}: {beginning}…"


def _place(file: Path, content: bytes, at: int) -> str:
    number = content.count(b"\n", 0, at) + 1
    return f"{file.name} line {number}"
