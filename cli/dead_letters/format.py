"""Display of a message: without secrets, and safe for a terminal whatever it contains."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from cli.dead_letters.rows import DeadLetter
from cli.options import one_line
from shared.chassis.telemetry import is_secret

MAX_CHARACTERS = 20_000
REDACTED = "[redacted]"


def dead_letter_json(letter: DeadLetter) -> dict[str, object]:
    """Return the JSON of `--json`."""
    body = _body(letter.payload)
    return {
        "headers": _without_secrets(letter.headers),
        "body": body,
        "body_is_json": body is not None,
        "body_bytes": len(letter.payload),
        "body_sha256": hashlib.sha256(letter.payload).hexdigest(),
        "waits_for": letter.ahead,
        "behind": letter.behind,
        "next_behind": [str(event_id) for event_id in letter.next_behind],
    }


def dead_letter_lines(letter: DeadLetter) -> Iterator[str]:
    """Yield lines of text. Characters other than printable ASCII are escaped."""
    headers = _without_secrets(letter.headers)
    yield "headers"
    for name, value in headers.items() if isinstance(headers, dict) else [("not an object", headers)]:
        yield f"  {one_line(name)}: {one_line(str(value))}"
    yield f"body ({len(letter.payload)} bytes, SHA-256 {hashlib.sha256(letter.payload).hexdigest()})"
    body = _body(letter.payload)
    if body is None:
        yield "  not JSON; see the unchanged message in <topic>.dlq"
    else:
        text = json.dumps(body, indent=2)
        yield from ("  " + line for line in text[:MAX_CHARACTERS].splitlines())
        if len(text) > MAX_CHARACTERS:
            yield f"  … and {len(text) - MAX_CHARACTERS} more characters"
    if letter.ahead:
        yield f"waits behind {letter.ahead} events of its key"
    yield f"{letter.behind} events wait behind it" if letter.behind else "no events wait behind it"
    yield from (f"  {event_id}" for event_id in letter.next_behind)
    if letter.behind > len(letter.next_behind):
        yield f"  and {letter.behind - len(letter.next_behind)} more"


def _body(payload: bytes) -> Any:  # Any: JSON
    """Return the payload without secrets; None if it is not JSON, as secrets cannot be removed then."""
    try:
        return _without_secrets(json.loads(payload))
    except (ValueError, RecursionError):
        return None


def _without_secrets(part: Any) -> Any:  # Any: JSON
    if isinstance(part, dict):
        return {name: REDACTED if is_secret(name) else _without_secrets(each) for name, each in part.items()}
    if isinstance(part, list):
        return [_without_secrets(each) for each in part]
    return part
