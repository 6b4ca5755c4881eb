"""Ed25519 keys that verify tokens: fetched from auth, or known beforehand."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import aiohttp
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt import PyJWK

from shared.chassis.errors import Unavailable

ALGORITHM = "EdDSA"
REFETCH_AT_MOST_EVERY_S = 2.0
FIRST_AT_MOST_EVERY_S = 0.2  # until the first key is fetched
REFRESH_EVERY_S = 60.0  # a key that auth has withdrawn is trusted no longer than this
FETCH_TIMEOUT_S = 3
LONGEST_JWKS = 65_536

log = structlog.get_logger()


class KeySource(Protocol):
    """`version` rises when a key is withdrawn: tokens verified before must be verified again."""

    version: int

    async def find(self, kid: str) -> PyJWK | None:
        """Return the key, or None. Raises Unavailable if no key was ever fetched."""
        ...


class RemoteKeys:
    """The keys of a published JWKS. The last ones are kept while it cannot be reached."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, PyJWK] = {}
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self.version = 0

    async def find(self, kid: str) -> PyJWK | None:
        if kid not in self._keys:
            async with self._fetching:
                if kid not in self._keys and self._age_s() > self._shortest_age_s():
                    await self._fetch()
        elif self._age_s() > REFRESH_EVERY_S and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh())  # requests continue with the current keys
        if not self._keys:
            raise Unavailable("auth's keys are not available at the moment", retry_after_s=2)
        return self._keys.get(kid)

    def _age_s(self) -> float:
        return float("inf") if self._tried_at is None else time.monotonic() - self._tried_at

    def _shortest_age_s(self) -> float:
        return REFETCH_AT_MOST_EVERY_S if self._keys else FIRST_AT_MOST_EVERY_S

    async def _refresh(self) -> None:
        async with self._fetching:
            if self._age_s() > REFRESH_EVERY_S:
                await self._fetch()

    async def _fetch(self) -> None:
        if not self._url:
            return
        self._tried_at = time.monotonic()
        try:
            timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url) as answer:
                answer.raise_for_status()
                self._take(parse_jwks(await answer.content.read(LONGEST_JWKS)))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("jwks_unavailable", error=repr(error))

    def _take(self, keys: dict[str, PyJWK]) -> None:
        if not keys:
            raise ValueError("the JWKS contains no key")
        self.version += bool(self._keys.keys() - keys.keys())
        self._keys = keys


def parse_jwks(raw: bytes) -> dict[str, PyJWK]:
    """Parse a JWKS into keys by id. Raises ValueError."""
    try:
        return {entry["kid"]: PyJWK(entry, algorithm=ALGORITHM) for entry in json.loads(raw)["keys"]}
    except (KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError(f"not a JWKS: {error!r}") from error


def load_private_key(file: Path) -> Ed25519PrivateKey:
    """Raises ValueError, OSError."""
    key = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file} holds no Ed25519 private key")
    return key


def public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """Return the public key as a JWK (RFC 8037); the key id is its thumbprint (RFC 7638)."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    thumbprint = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode())
    return {**members, "use": "sig", "alg": ALGORITHM, "kid": _base64url(thumbprint.digest())}


def verification_key(jwk: Mapping[str, str]) -> PyJWK:
    return PyJWK(dict(jwk), algorithm=ALGORITHM)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
