"""ETag and If-Match: a client may name the state it has seen, and its change is refused if that is out of date."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from shared.chassis.errors import InvalidInput, PreconditionFailed
from shared.contracts.types import EPOCH

TAGS_PATTERN = r'^(\*|(W/)?"[!#-~]*"( ?, ?(W/)?"[!#-~]*")*)$'
LONGEST = 1_000
_TAGS = re.compile(TAGS_PATTERN)
_SHOWN = re.compile(r'\.[0-9a-f]+"$')
_TAG = re.compile(r'(W/)?("[!#-~]*")')


def etag_of(state: int | datetime, shown: datetime | None = None) -> str:
    """Return the ETag of a version that rises with every change, or of the time of the last change.

    `shown` is the time of the last change to any shown value. Values that change by themselves give a new tag this
    way, but do not make If-Match fail.
    """
    text = str(state) if isinstance(state, int) else _of_time(state)
    return f'"{text}"' if shown is None else f'"{text}.{_of_time(shown)}"'


def _of_time(moment: datetime) -> str:
    return f"{(moment - EPOCH) // timedelta(microseconds=1):x}"


@dataclass(frozen=True)
class IfMatch:
    """The states that the client accepts; None for any state."""

    tags: frozenset[str] | None = None

    def check(self, state: int | datetime) -> None:
        """Compare with the current state. Raises PreconditionFailed.

        Call it in the transaction of the change, with the row locked.
        """
        if self.tags is not None and etag_of(state) not in {_SHOWN.sub('"', tag) for tag in self.tags}:
            raise PreconditionFailed


ANY_STATE = IfMatch()


def if_match_of(request: web.Request) -> IfMatch:
    """Raises InvalidInput."""
    given = _tags(request, "If-Match")
    if given is None or given == ["*"]:
        return ANY_STATE
    return IfMatch(frozenset(tag for tag in given if not tag.startswith("W/")))


def is_known(request: web.Request, tag: str) -> bool:
    """Return whether If-None-Match lists this tag. Raises InvalidInput."""
    given = _tags(request, "If-None-Match")
    return given is not None and (given == ["*"] or tag in {each.removeprefix("W/") for each in given})


def _tags(request: web.Request, header: str) -> Sequence[str] | None:
    lines = request.headers.getall(header, [])
    if not lines:
        return None
    text = ", ".join(lines)
    if len(text) > LONGEST or not _TAGS.fullmatch(text):
        raise InvalidInput(errors=[{"path": header, "reason": 'must be *, or tags such as "3", "18f2c"'}])
    return ["*"] if text == "*" else ["".join(parts) for parts in _TAG.findall(text)]
