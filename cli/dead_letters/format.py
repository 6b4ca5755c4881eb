"""How a message is shown: readable, without secrets, and harmless to a terminal whatever it holds."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from cli.dead_letters.rows import Letter
from cli.options import one_line
from shared.chassis.telemetry import is_secret

MOST_CHARACTERS = 20_000
REDACTED = "[redacted]"


def letter_shown(letter: Letter) -> dict[str, object]:
    """For `--json`."""
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


def letter_lines(letter: Letter) -> Iterator[str]:
    """For people. Whatever is no printable ASCII is escaped by JSON."""
    headers = _without_secrets(letter.headers)
    yield "headers"
    for name, value in headers.items() if isinstance(headers, dict) else [("which are none", headers)]:
        yield f"  {one_line(name)}: {one_line(str(value))}"
    yield f"body ({len(letter.payload)} bytes, SHA-256 {hashlib.sha256(letter.payload).hexdigest()})"
    body = _body(letter.payload)
    if body is None:
        yield "  is no JSON; it is in <topic>.dlq as it came"
    else:
        text = json.dumps(body, indent=2)
        yield from ("  " + line for line in text[:MOST_CHARACTERS].splitlines())
        if len(text) > MOST_CHARACTERS:
            yield f"  … and {len(text) - MOST_CHARACTERS} characters more"
    if letter.ahead:
        yield f"waits behind {letter.ahead} of its key"
    yield f"behind it wait {letter.behind}" if letter.behind else "nothing waits behind it"
    yield from (f"  {event_id}" for event_id in letter.next_behind)
    if letter.behind > len(letter.next_behind):
        yield f"  and {letter.behind - len(letter.next_behind)} more"


def _body(payload: bytes) -> Any:  # Any: JSON
    """None where it is none: what cannot be read cannot be cleared of secrets either."""
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
