"""Replaying and dropping, and what became of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cli.dead_letters.ids import FoundEntry
from cli.dead_letters.rows import Entry, drop_entries, look_again, replay_entries
from cli.queues import Queues
from shared.chassis.postgres import Connection

Outcome = Literal[
    "replayed", "dropped", "already worked", "already dropped", "not found", "worked", "fails again", "still waits"
]
FAILED = ("not found", "fails again", "still waits")
LOOK_EVERY_S = 0.2

Change = Callable[[Connection, Sequence[Entry]], Awaitable[set[Entry]]]


@dataclass(frozen=True)
class Done:
    found: FoundEntry
    outcome: Outcome
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.outcome in FAILED


async def replay_found(queues: Queues, found: Sequence[FoundEntry]) -> list[Done]:
    changed = await _change(queues, found, replay_entries)
    return [Done(each, "replayed") if each in changed else _absent(each) for each in found]


async def drop_found(queues: Queues, found: Sequence[FoundEntry]) -> list[Done]:
    before = {each for each in found if each.entry is not None and each.entry.state == "DROPPED"}
    changed = await _change(queues, [each for each in found if each not in before], drop_entries)
    done = {each: Done(each, "already dropped") for each in before}
    done |= {each: Done(each, "dropped") for each in changed}
    return [done.get(each) or _absent(each) for each in found]


def _absent(found: FoundEntry) -> Done:
    """Not there when looked for, or gone between looking and doing, because it was worked."""
    return Done(found, "already worked" if found.was or found.entry is not None else "not found")


async def _change(queues: Queues, found: Sequence[FoundEntry], change: Change) -> set[FoundEntry]:
    """One transaction per service."""
    changed: set[FoundEntry] = set()
    for service in queues.services:
        here = {each.entry: each for each in found if each.entry is not None and each.id.service == service}
        if here:
            async with queues.of(service) as connection:
                changed |= {here[entry] for entry in await change(connection, list(here))}
    return changed


async def wait_for(queues: Queues, done: Sequence[Done], wait_s: float) -> list[Done]:
    """What became of those that were replayed, once all are worked, given up again, or the time is over."""
    deadline = time.monotonic() + wait_s
    while True:
        looked = [await _look(queues, each) for each in done]
        if time.monotonic() >= deadline or not any(each.outcome == "still waits" for each in looked):
            return looked
        await asyncio.sleep(LOOK_EVERY_S)


async def _look(queues: Queues, done: Done) -> Done:
    if done.outcome != "replayed" or done.found.entry is None:
        return done
    async with queues.of(done.found.id.service) as connection:
        state, why = await look_again(connection, done.found.entry)
    if state == "DONE":
        return Done(done.found, "worked")
    return Done(done.found, "still waits" if state == "WAITING" else "fails again", why)
