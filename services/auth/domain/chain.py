"""The activity log: each row carries the hash of the row before it for that user, so that tampering shows.

`hash` = SHA-256 of the row's canonical bytes: a JSON array in ASCII, without spaces, keys sorted, of all its
columns in the order of `canonical_bytes`. Times are microseconds since 1970, addresses and hashes hexadecimal,
`previous_hash` is the last; before the first row it is 32 zero bytes.
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
FORM = "tradefleet activity 1"

Harm = Literal["CHANGED", "MOVED", "MISSING", "ADDED", "HEAD_MISSING", "HEAD_CHANGED"]


@dataclass(frozen=True)
class Entry:
    """What a row says, but for its place."""

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
    """Where a user's chain ends."""

    entries: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True)
class Link:
    """A row as it is stored."""

    entry: Entry
    seq: int
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True)
class ChainFault:
    user_id: int
    seq: int
    harm: Harm


def canonical_bytes(entry: Entry, seq: int, previous_hash: bytes) -> bytes:
    address = None if entry.ip_address is None else ip_address(entry.ip_address).packed.hex()
    values = [
        FORM,
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
    """The row for it at the end of a chain, and the end that the chain has then."""
    seq = head.entries + 1
    digest = sha256_of(entry, seq, head.hash)
    return Link(entry, seq, head.hash, digest), Head(seq, digest)


class ChainCheck:
    """Looks at one user's chain, his rows in the order of their places. After a fault it goes on from what stands
    there, so that each is told once."""

    def __init__(self, user_id: int, head: Head | None) -> None:
        self.user_id = user_id
        self._head = head
        self._end = Head()
        self._broken = False

    def add(self, link: Link) -> Iterator[ChainFault]:
        """What is wrong at this row, and between it and the one before it."""
        gap = range(self._end.entries + 1, link.seq)
        for gone in gap:
            yield ChainFault(self.user_id, gone, "MISSING")
        follows = bool(gap) or link.previous_hash == self._end.hash
        after_broken, self._broken = self._broken, True
        self._end = Head(link.seq, link.hash)
        if self._head is not None and link.seq > self._head.entries:
            yield ChainFault(self.user_id, link.seq, "ADDED")
        elif link.hash != sha256_of(link.entry, link.seq, link.previous_hash):
            yield ChainFault(self.user_id, link.seq, "CHANGED" if follows else "MOVED")
        elif not follows and not after_broken:
            yield ChainFault(self.user_id, link.seq, "MOVED")
        else:
            self._broken = False

    def end(self) -> Iterator[ChainFault]:
        """What is wrong after the last row."""
        if self._head is None:
            yield ChainFault(self.user_id, self._end.entries, "HEAD_MISSING")
            return
        for gone in range(self._end.entries + 1, self._head.entries + 1):
            yield ChainFault(self.user_id, gone, "MISSING")
        if self._end.entries == self._head.entries and self._end.hash != self._head.hash:
            yield ChainFault(self.user_id, self._end.entries, "HEAD_CHANGED")


def sha256_of(entry: Entry, seq: int, previous_hash: bytes) -> bytes:
    return hashlib.sha256(canonical_bytes(entry, seq, previous_hash)).digest()
