"""Replay and drop of failed events, and the results."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cli.dead_letters.ids import FoundEntry
from cli.dead_letters.rows import Entry, drop_entries, read_replay_state, replay_entries
from cli.queues import Queues
from shared.chassis.postgres import Connection

Outcome = Literal[
    "replayed",
    "dropped",
    "already handled",
    "already dropped",
    "not found",
    "handled",
    "failed again",
    "still waiting",
]
FAILED = ("not found", "failed again", "still waiting")
POLL_INTERVAL_S = 0.2

Change = Callable[[Connection, Sequence[Entry]], Awaitable[set[Entry]]]


@dataclass(frozen=True)
class EntryResult:
    found: FoundEntry
    outcome: Outcome
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.outcome in FAILED


async def replay_found(queues: Queues, found: Sequence[FoundEntry]) -> list[EntryResult]:
    changed = await _change(queues, found, replay_entries)
    return [EntryResult(each, "replayed") if each in changed else _absent(each) for each in found]


async def drop_found(queues: Queues, found: Sequence[FoundEntry]) -> list[EntryResult]:
    before = {each for each in found if each.entry is not None and each.entry.state == "DROPPED"}
    changed = await _change(queues, [each for each in found if each not in before], drop_entries)
    done = {each: EntryResult(each, "already dropped") for each in before}
    done |= {each: EntryResult(each, "dropped") for each in changed}
    return [done.get(each) or _absent(each) for each in found]


def _absent(found: FoundEntry) -> EntryResult:
    """Return the result for an entry that was missing at the lookup, or was handled before the change."""
    return EntryResult(found, "already handled" if found.handled or found.entry is not None else "not found")


async def _change(queues: Queues, found: Sequence[FoundEntry], change: Change) -> set[FoundEntry]:
    """One transaction per service."""
    changed: set[FoundEntry] = set()
    for service in queues.services:
        here = {each.entry: each for each in found if each.entry is not None and each.id.service == service}
        if here:
            async with queues.of(service) as connection:
                changed |= {here[entry] for entry in await change(connection, list(here))}
    return changed


async def wait_until_handled(queues: Queues, done: Sequence[EntryResult], wait_s: float) -> list[EntryResult]:
    """Poll until all replayed events are handled or have failed again, at most `wait_s`; returns the results."""
    deadline = time.monotonic() + wait_s
    while True:
        results = [await _check(queues, each) for each in done]
        if time.monotonic() >= deadline or not any(each.outcome == "still waiting" for each in results):
            return results
        await asyncio.sleep(POLL_INTERVAL_S)


async def _check(queues: Queues, done: EntryResult) -> EntryResult:
    if done.outcome != "replayed" or done.found.entry is None:
        return done
    async with queues.of(done.found.id.service) as connection:
        state, why = await read_replay_state(connection, done.found.entry)
    if state == "DONE":
        return EntryResult(done.found, "handled")
    return EntryResult(done.found, "still waiting" if state == "WAITING" else "failed again", why)
