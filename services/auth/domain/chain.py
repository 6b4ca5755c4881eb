"""The hash chain of the activity log: each row carries the hash of the user's previous row, so tampering shows.

`hash` is the SHA-256 of the row's canonical bytes: a JSON array of all its columns in the order of
`canonical_bytes`, in ASCII, without spaces, keys sorted. Times are microseconds since 1970; addresses and hashes
are hexadecimal; `previous_hash` comes last and is 32 zero bytes for the first row.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Literal
from uuid import UUID

from shared.contracts.types import to_us

GENESIS = bytes(32)
FORMAT = "tradefleet activity 1"

FaultKind = Literal["CHANGED", "MOVED", "MISSING", "ADDED", "HEAD_MISSING", "HEAD_CHANGED"]


@dataclass(frozen=True)
class Entry:
    """The content of a row, without its position in the chain."""

    user_id: int
    activity_id: UUID
    timestamp: datetime
    activity_type: str
    actor: str
    service: str
    ip_address: str | None
    user_agent: str | None
    endpoint: str
    data: Mapping[str, object]
    created_at: datetime


@dataclass(frozen=True)
class Head:
    """The end of a user's chain."""

    entries: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True)
class Link:
    """A stored row."""

    entry: Entry
    seq: int
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True)
class ChainFault:
    user_id: int
    seq: int
    kind: FaultKind


def canonical_bytes(entry: Entry, seq: int, previous_hash: bytes) -> bytes:
    address = None if entry.ip_address is None else ip_address(entry.ip_address).packed.hex()
    values = [
        FORMAT,
        entry.user_id,
        seq,
        str(entry.activity_id),
        to_us(entry.timestamp),
        entry.activity_type,
        entry.actor,
        entry.service,
        address,
        entry.user_agent,
        entry.endpoint,
        entry.data,
        to_us(entry.created_at),
        previous_hash.hex(),
    ]
    return json.dumps(values, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()


def append(head: Head, entry: Entry) -> tuple[Link, Head]:
    """Return the row that appends `entry` to a chain, and the new head."""
    seq = head.entries + 1
    digest = sha256_of(entry, seq, head.hash)
    return Link(entry, seq, head.hash, digest), Head(seq, digest)


class ChainCheck:
    """Checks the chain of one user, row by row in the order of `seq`.

    After a fault it continues from the stored row, so that each fault is reported once.
    """

    def __init__(self, user_id: int, head: Head | None) -> None:
        self.user_id = user_id
        self._head = head
        self._end = Head()
        self._broken = False

    def add(self, link: Link) -> Iterator[ChainFault]:
        """Yield the faults of this row and of the gap before it."""
        gap = range(self._end.entries + 1, link.seq)
        for seq in gap:
            yield ChainFault(self.user_id, seq, "MISSING")
        is_linked = bool(gap) or link.previous_hash == self._end.hash
        after_broken, self._broken = self._broken, True
        self._end = Head(link.seq, link.hash)
        if self._head is not None and link.seq > self._head.entries:
            yield ChainFault(self.user_id, link.seq, "ADDED")
        elif link.hash != sha256_of(link.entry, link.seq, link.previous_hash):
            yield ChainFault(self.user_id, link.seq, "CHANGED" if is_linked else "MOVED")
        elif not is_linked and not after_broken:
            yield ChainFault(self.user_id, link.seq, "MOVED")
        else:
            self._broken = False

    def end(self) -> Iterator[ChainFault]:
        """Yield the faults after the last row."""
        if self._head is None:
            yield ChainFault(self.user_id, self._end.entries, "HEAD_MISSING")
            return
        for seq in range(self._end.entries + 1, self._head.entries + 1):
            yield ChainFault(self.user_id, seq, "MISSING")
        if self._end.entries == self._head.entries and self._end.hash != self._head.hash:
            yield ChainFault(self.user_id, self._end.entries, "HEAD_CHANGED")


def sha256_of(entry: Entry, seq: int, previous_hash: bytes) -> bytes:
    return hashlib.sha256(canonical_bytes(entry, seq, previous_hash)).digest()
