"""The keys that encrypt the data keys of exchange secrets, behind a small interface.

`FileKeyRing` reads them from a file or from a text in the environment. A key management service (KMS, Vault) takes
its place by the four methods of `KeyRing`: `wrap` and `unwrap` are its Encrypt and Decrypt with `context` as the
encryption context, `current_key_id` is the version of the key that Encrypt uses, and `hash` is its MAC under a key
that never rotates.
"""

import hashlib
import hmac
import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.trading.errors import KeyUnavailable, SecretUnreadable

KEY_BYTES = 32
NONCE_BYTES = 12
MADE_AT = "%Y%m%dT%H%M%SZ"  # in UTC


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key, encrypted with the key `key_id` of the ring."""

    key_id: str
    wrapped: bytes = field(repr=False)


class KeyRing(Protocol):
    """Every method raises KeyUnavailable."""

    async def current_key_id(self) -> str:
        """Return the id of the key that `wrap` uses."""

    async def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key with the current key, bound to the context."""

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Raises SecretUnreadable if this was not wrapped with this key and this context."""

    async def hash(self, text: str) -> bytes:
        """Return a keyed hash of 32 bytes, the same for the same text for ever."""


def encrypt(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """AES-256-GCM with a random nonce in front."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def decrypt(key: bytes, encrypted: bytes, context: bytes) -> bytes:
    """Raises SecretUnreadable."""
    if len(encrypted) <= NONCE_BYTES:
        raise SecretUnreadable("it is too short")
    try:
        return AESGCM(key).decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], context)
    except InvalidTag:
        raise SecretUnreadable("it was changed, or belongs to another row") from None


@dataclass(frozen=True, repr=False)
class Ring:
    """The content of the file: `{"current": id, "keys": {id: base64}, "hash_key": base64}`."""

    current: str
    keys: Mapping[str, bytes]
    hash_key: bytes

    def with_new_key(self, now: datetime) -> "Ring":
        """Return the ring with a new current key; the earlier keys stay readable."""
        key_id = _new_id(now)
        return replace(self, current=key_id, keys={**self.keys, key_id: secrets.token_bytes(KEY_BYTES)})

    def without(self, key_id: str) -> "Ring":
        assert key_id != self.current, "the current key is in use"
        return replace(self, keys={name: key for name, key in self.keys.items() if name != key_id})

    def to_json(self) -> bytes:
        keys = {name: b64encode(key).decode() for name, key in self.keys.items()}
        content = {"current": self.current, "keys": keys, "hash_key": b64encode(self.hash_key).decode()}
        return json.dumps(content, indent=1).encode()


def new_ring(now: datetime) -> Ring:
    return Ring("", {}, secrets.token_bytes(KEY_BYTES)).with_new_key(now)


def parse_ring(content: str | bytes) -> Ring:
    """Raises KeyUnavailable, without a word of the content."""
    try:
        raw = json.loads(content)
        keys = {name: b64decode(text, validate=True) for name, text in raw["keys"].items()}
        ring = Ring(raw["current"], keys, b64decode(raw["hash_key"], validate=True))
        if ring.current not in keys or any(len(key) != KEY_BYTES for key in (*keys.values(), ring.hash_key)):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise KeyUnavailable("the key ring is malformed") from None
    return ring


def _new_id(now: datetime) -> str:
    return f"{now:{MADE_AT}}-{secrets.token_hex(2)}"


def made_at(key_id: str) -> datetime:
    """Return when a key was made: its id begins with that. Raises ValueError."""
    return datetime.strptime(key_id.partition("-")[0], MADE_AT).replace(tzinfo=UTC)


class FileKeyRing:
    """Reads the ring from a file, again when the file has changed, or from a text."""

    def __init__(self, file: Path | None, text: str = "") -> None:
        self._file = file
        self._ring = parse_ring(text) if text else None
        self._state: tuple[int, int] | None = None
        if file is not None:
            self._load()  # a malformed ring ends the start, not the first request

    async def current_key_id(self) -> str:
        return self._load().current

    async def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        ring = self._load()
        return WrappedKey(ring.current, encrypt(ring.keys[ring.current], data_key, _bound(ring.current, context)))

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        key = self._load().keys.get(wrapped.key_id)
        if key is None:
            raise KeyUnavailable("the key ring does not have the key of this row")
        return decrypt(key, wrapped.wrapped, _bound(wrapped.key_id, context))

    async def hash(self, text: str) -> bytes:
        return hmac.digest(self._load().hash_key, text.encode(), hashlib.sha256)

    def _load(self) -> Ring:
        if self._file is not None:
            try:
                found = self._file.stat()
                state = (found.st_mtime_ns, found.st_ino)
                if state != self._state:
                    self._ring, self._state = parse_ring(self._file.read_bytes()), state
            except OSError as error:
                raise KeyUnavailable("the key ring cannot be read") from error
        if self._ring is None:
            raise KeyUnavailable("neither EXCHANGE_KEYS_FILE nor EXCHANGE_KEYS is set")
        return self._ring


def _bound(key_id: str, context: bytes) -> bytes:
    return key_id.encode() + b"/" + context
