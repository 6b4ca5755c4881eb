"""Auth's own keys: one signs, and those before and after it are published beside it.

A key is a file in a folder, named by the moment from which it signs (`20260131T0930Z.pem`). It is published as
soon as the file is there, so that every verifier has it before the first token is signed with it; the key before
it stays published until its file is removed.
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

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
LOOK_EVERY_S = 1.0
PUBLISHED_BEFORE = timedelta(seconds=10)  # of a key that was put there late: verifiers refetch every 2 s
_NAME = re.compile(r"\d{8}T\d{4}Z\.pem", re.ASCII)

log = structlog.get_logger()


@dataclass(frozen=True)
class SigningKey:
    """`begins_at` is when it takes over from the key before it."""

    private: Ed25519PrivateKey
    public: dict[str, str]
    begins_at: datetime

    @property
    def kid(self) -> str:
        return self.public["kid"]


class SigningKeys:
    """The keys of a folder, which is looked at again while the service runs, and that of one file."""

    def __init__(self, file: Path | None, folder: Path | None = None) -> None:
        """Raises ValueError, OSError for what is no key, or where there is none."""
        self._folder = folder
        self._of_file = [_load(file, ALWAYS)] if file else []
        self._by_name: dict[str, SigningKey] = {}
        self._looked_at = time.monotonic()
        self.version = 0
        for name in self._names():
            assert folder is not None, "names are those of its files"
            self._by_name[name] = _load(folder / name, begin_of(name))
        if not self._all():
            raise ValueError(f"{folder} holds no signing key, such as 20260131T0930Z.pem")

    def signing(self, now: datetime) -> SigningKey:
        """The key whose turn it is: the last that has begun, else the first that will."""
        self._look_again(now)
        begun = [key for key in self._all() if key.begins_at <= now]
        return begun[-1] if begun else self._all()[0]

    def published(self, now: datetime) -> list[dict[str, str]]:
        self._look_again(now)
        return [key.public for key in self._all()]

    async def find(self, kid: str) -> PyJWK | None:
        """For checking tokens in this process."""
        self._look_again(utc_now())
        return next((verification_key(key.public) for key in self._all() if key.kid == kid), None)

    def _all(self) -> Sequence[SigningKey]:
        return sorted([*self._of_file, *self._by_name.values()], key=lambda key: key.begins_at)

    def _names(self) -> list[str]:
        return sorted(file.name for file in self._folder.glob("*.pem")) if self._folder else []

    def _look_again(self, now: datetime) -> None:
        if self._folder is None or time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        names = self._names()
        found = {name: key for name in names if (key := self._by_name.get(name) or self._load_late(name, now))}
        if not found and not self._of_file:
            log.error("signing_keys_gone", folder=str(self._folder))
            return  # better the last keys than none
        self.version += bool(self._by_name.keys() - found.keys())
        self._by_name = found

    def _load_late(self, name: str, now: datetime) -> SigningKey | None:
        """One whose moment is over already is given time to become known, as all others are."""
        assert self._folder is not None, "there is none to look into"
        try:
            key = _load(self._folder / name, max(begin_of(name), now + PUBLISHED_BEFORE))
        except (ValueError, OSError) as error:
            log.error("signing_key_unreadable", file=name, error=repr(error))
            return None
        log.info("signing_key_found", kid=key.kid, begins_at=key.begins_at.isoformat())
        return key


def begin_of(name: str) -> datetime:
    """When the key of this file begins to sign. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name} is no name of a signing key, such as 20260131T0930Z.pem")
    return datetime.strptime(name, "%Y%m%dT%H%MZ.pem").replace(tzinfo=UTC)


def _load(file: Path, begins_at: datetime) -> SigningKey:
    key = load_private_key(file)
    return SigningKey(key, public_jwk(key), begins_at)
