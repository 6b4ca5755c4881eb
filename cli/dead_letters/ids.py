"""How an event is named on the command line, and finding it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cli.dead_letters.rows import Entry, Kind, find_entries_of_event, find_entry, has_been
from cli.options import BadOption, quoted
from cli.queues import Queues
from stack.migrate import SERVICES

_ID = re.compile(rf"({'|'.join(SERVICES)}):(heard|unsent):([1-9]\d{{0,17}})", re.ASCII)
_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Id:
    """`billing:heard:12`; or, before it was found, an event's id in whichever service."""

    service: str = ""
    kind: Kind = "heard"
    number: int = 0
    event_id: UUID | None = None

    def __str__(self) -> str:
        return str(self.event_id) if self.event_id else f"{self.service}:{self.kind}:{self.number}"


@dataclass(frozen=True)
class FoundEntry:
    """Without an entry it is not there (any more); `was` tells that it once was."""

    id: Id
    entry: Entry | None
    was: bool = False


def id_option(text: str) -> Id:
    if match := _ID.fullmatch(text):
        return Id(match[1], "heard" if match[2] == "heard" else "unsent", int(match[3]))
    if _EVENT_ID.fullmatch(text):
        return Id(event_id=UUID(text))
    raise BadOption(f"{quoted(text)} is no ID as `tradefleet dlq list` shows them, and no event's id")


async def find_all(queues: Queues, ids: Sequence[Id]) -> list[FoundEntry]:
    """Each once, in the order in which they were named."""
    found: dict[Id, FoundEntry] = {}
    for wanted in ids:
        for each in await _find(queues, wanted):
            found.setdefault(each.id, each)
    return list(found.values())


async def _find(queues: Queues, wanted: Id) -> list[FoundEntry]:
    if wanted.event_id is not None:
        return await _find_event(queues, wanted, wanted.event_id)
    if wanted.service not in queues.services:
        raise BadOption(f"{wanted} is of a service that --service leaves out")
    async with queues.of(wanted.service) as connection:
        if entry := await find_entry(connection, wanted.kind, wanted.number):
            return [FoundEntry(wanted, entry)]
        return [FoundEntry(wanted, None, was=await has_been(connection, wanted.kind, wanted.number))]


async def _find_event(queues: Queues, wanted: Id, event_id: UUID) -> list[FoundEntry]:
    """In every service that it waits in."""
    found = []
    for service in queues.services:
        async with queues.of(service) as connection:
            entries = await find_entries_of_event(connection, event_id)
        found += [FoundEntry(Id(service, each.kind, each.id), each) for each in entries]
    return found or [FoundEntry(wanted, None)]
