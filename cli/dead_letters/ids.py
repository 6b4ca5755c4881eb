"""Ids of failed events on the command line, and their lookup."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cli.dead_letters.rows import Entry, Kind, find_entries_of_event, find_entry, was_handled
from cli.options import BadOption, quoted
from cli.queues import Queues
from stack.migrate import SERVICES

_ID = re.compile(rf"({'|'.join(SERVICES)}):(heard|unsent):([1-9]\d{{0,17}})", re.ASCII)
_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class EntryId:
    """`billing:heard:12`, or before the lookup an event id in any service."""

    service: str = ""
    kind: Kind = "heard"
    number: int = 0
    event_id: UUID | None = None

    def __str__(self) -> str:
        return str(self.event_id) if self.event_id else f"{self.service}:{self.kind}:{self.number}"


@dataclass(frozen=True)
class FoundEntry:
    """Result of a lookup. `entry` is None if not found; `handled` if it existed and has been handled."""

    id: EntryId
    entry: Entry | None
    handled: bool = False


def id_option(text: str) -> EntryId:
    if match := _ID.fullmatch(text):
        return EntryId(match[1], "heard" if match[2] == "heard" else "unsent", int(match[3]))
    if _EVENT_ID.fullmatch(text):
        return EntryId(event_id=UUID(text))
    raise BadOption(f"{quoted(text)} is neither an ID of `tradefleet dlq list` nor an event id")


async def find_all(queues: Queues, ids: Sequence[EntryId]) -> list[FoundEntry]:
    """Look up the ids in order, without duplicates."""
    found: dict[EntryId, FoundEntry] = {}
    for wanted in ids:
        for each in await _find(queues, wanted):
            found.setdefault(each.id, each)
    return list(found.values())


async def _find(queues: Queues, wanted: EntryId) -> list[FoundEntry]:
    if wanted.event_id is not None:
        return await _find_event(queues, wanted, wanted.event_id)
    if wanted.service not in queues.services:
        raise BadOption(f"{wanted} belongs to a service that is not selected by --service")
    async with queues.of(wanted.service) as connection:
        if entry := await find_entry(connection, wanted.kind, wanted.number):
            return [FoundEntry(wanted, entry)]
        return [FoundEntry(wanted, None, handled=await was_handled(connection, wanted.kind, wanted.number))]


async def _find_event(queues: Queues, wanted: EntryId, event_id: UUID) -> list[FoundEntry]:
    """Look up an event id in all selected services."""
    found = []
    for service in queues.services:
        async with queues.of(service) as connection:
            entries = await find_entries_of_event(connection, event_id)
        found += [FoundEntry(EntryId(service, each.kind, each.id), each) for each in entries]
    return found or [FoundEntry(wanted, None)]
