"""Auth's signing keys: one signs; the previous and future ones are published with it.

A key is a file in a folder, named by the time from which it signs (`20260131T0930Z.pem`). It is published as soon
as the file exists, so that every verifier has it before the first token is signed with it. The previous key stays
published until its file is removed.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt import PyJWK

from shared.chassis.clock import utc_now
from shared.chassis.keys import load_private_key, public_jwk, verification_key

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RELOAD_EVERY_S = 1.0
PUBLISH_LEAD = timedelta(seconds=10)  # for a key added after its time: verifiers refetch every 2 s
_NAME = re.compile(r"\d{8}T\d{4}Z\.pem", re.ASCII)

log = structlog.get_logger()


@dataclass(frozen=True)
class SigningKey:
    """A key pair. It signs from `begins_at` until the next key begins."""

    private: Ed25519PrivateKey
    public: dict[str, str]
    begins_at: datetime

    @property
    def kid(self) -> str:
        return self.public["kid"]


class SigningKeys:
    """The keys of a folder, which is reloaded while the service runs, and the key of a single file."""

    def __init__(self, file: Path | None, folder: Path | None = None) -> None:
        """Raises ValueError or OSError if a file is not a key, ValueError if there is none."""
        self._folder = folder
        self._file_keys = [_load(file, EPOCH)] if file else []
        self._by_name: dict[str, SigningKey] = {}
        self._loaded_at = time.monotonic()
        self.version = 0
        for name in self._names():
            assert folder is not None, "names come from the folder"
            self._by_name[name] = _load(folder / name, activation_time(name))
        if not self._all():
            raise ValueError(f"{folder} contains no signing key, such as 20260131T0930Z.pem")

    def signing(self, now: datetime) -> SigningKey:
        """Return the current key: the last one that has begun, else the first one that will begin."""
        self._reload(now)
        begun = [key for key in self._all() if key.begins_at <= now]
        return begun[-1] if begun else self._all()[0]

    def published(self, now: datetime) -> list[dict[str, str]]:
        """Return the public keys as JWKs."""
        self._reload(now)
        return [key.public for key in self._all()]

    async def find(self, kid: str) -> PyJWK | None:
        """Return the key with this id, for verifying tokens in this process."""
        self._reload(utc_now())
        return next((verification_key(key.public) for key in self._all() if key.kid == kid), None)

    def _all(self) -> Sequence[SigningKey]:
        return sorted([*self._file_keys, *self._by_name.values()], key=lambda key: key.begins_at)

    def _names(self) -> list[str]:
        return sorted(file.name for file in self._folder.glob("*.pem")) if self._folder else []

    def _reload(self, now: datetime) -> None:
        if self._folder is None or time.monotonic() - self._loaded_at < RELOAD_EVERY_S:
            return
        self._loaded_at = time.monotonic()
        names = self._names()
        found = {name: key for name in names if (key := self._by_name.get(name) or self._load_new(name, now))}
        if not found and not self._file_keys:
            log.error("signing_keys_gone", folder=str(self._folder))
            return  # keep the last keys: with none, no token could be signed or verified
        self.version += bool(self._by_name.keys() - found.keys())
        self._by_name = found

    def _load_new(self, name: str, now: datetime) -> SigningKey | None:
        """Load a new file. A key whose time has passed signs after PUBLISH_LEAD, when verifiers have fetched it."""
        assert self._folder is not None, "names come from the folder"
        try:
            key = _load(self._folder / name, max(activation_time(name), now + PUBLISH_LEAD))
        except (ValueError, OSError) as error:
            log.error("signing_key_unreadable", file=name, error=repr(error))
            return None
        log.info("signing_key_found", kid=key.kid, begins_at=key.begins_at.isoformat())
        return key


def activation_time(name: str) -> datetime:
    """Return the time from which the key of this file signs. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is not the name of a signing key, such as 20260131T0930Z.pem")
    return datetime.strptime(name, "%Y%m%dT%H%MZ.pem").replace(tzinfo=UTC)


def _load(file: Path, begins_at: datetime) -> SigningKey:
    key = load_private_key(file)
    return SigningKey(key, public_jwk(key), begins_at)
