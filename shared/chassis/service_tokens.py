"""Authentication between services: a token valid for one minute and one service, signed with the caller's own key.

Each service holds its private key, and the list of all public keys, which may contain several per service. No token
service is involved, so no other service has to be up. Both files are re-read while the service runs.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jwt
import structlog
from jwt import PyJWK

from shared.chassis.clock import utc_now
from shared.chassis.errors import Forbidden, Unauthorized
from shared.chassis.keys import ALGORITHM, load_private_key, public_jwk, verification_key
from shared.chassis.signed_tokens import body_of, key_id_of
from shared.contracts.types import new_id

TOKEN_TYPE = "service+jwt"  # so that service tokens and access tokens are never accepted as each other
LIFE_S = 60
RENEW_AFTER_S = 30.0
CHECK_FILE_EVERY_S = 2.0

log = structlog.get_logger()


class ServiceTokens:
    """Signs tokens of this service; each is reused for half of its life."""

    def __init__(self, service: str, key_file: Path | None) -> None:
        self._service = service
        self._key_file = key_file
        self._signed: dict[str, tuple[str, float]] = {}

    def authorization(self, audience: str) -> dict[str, str]:
        """Return the header for a call to the service `audience`."""
        token, signed_at = self._signed.get(audience, ("", 0.0))
        if not token or time.monotonic() - signed_at > RENEW_AFTER_S:
            token = self.sign(audience)
            self._signed[audience] = (token, time.monotonic())
        return {"Authorization": f"Bearer {token}"}

    def sign(self, audience: str) -> str:
        assert self._key_file is not None, "settings.py requires it if another service is called"
        key = load_private_key(self._key_file)  # read each time, so that a changed key needs no restart
        now = int(utc_now().timestamp())
        claims = {"iss": self._service, "aud": audience, "iat": now, "exp": now + LIFE_S, "jti": str(new_id())}
        return jwt.encode(claims, key, ALGORITHM, headers={"typ": TOKEN_TYPE, "kid": public_jwk(key)["kid"]})


@dataclass(frozen=True)
class ServiceKey:
    service: str
    key: PyJWK


class ServiceCallers:
    """Authenticates the services that call this one."""

    def __init__(self, service: str, keys_file: Path | None) -> None:
        self._service = service
        self._keys_file = keys_file
        self._keys: dict[str, ServiceKey] = {}
        self._read: tuple[int, int] | None = None
        self._checked_at: float | None = None

    def check(self, authorization: str | None, allowed: frozenset[str]) -> str:
        """Return the calling service. Raises Unauthorized, or Forbidden if it is not one of `allowed`."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        caller = self._caller(token.strip())
        if caller not in allowed:
            raise Forbidden(f"{caller} may not call this")
        return caller

    def _caller(self, token: str) -> str:
        self._reload_keys()
        known = self._keys.get(key_id_of(token, TOKEN_TYPE))
        if known is None:
            raise Unauthorized
        body = body_of(token, known.key, issuer=known.service, audience=self._service, now=utc_now())
        if body["exp"] - body["iat"] > LIFE_S:
            raise Unauthorized
        return known.service

    def _reload_keys(self) -> None:
        if self._keys_file is None:
            return
        if self._checked_at is not None and time.monotonic() - self._checked_at < CHECK_FILE_EVERY_S:
            return
        self._checked_at = time.monotonic()
        try:
            status = self._keys_file.stat()
            if (status.st_mtime_ns, status.st_ino) == self._read:
                return
            self._keys = parse_service_keys(self._keys_file.read_bytes())
            self._read = status.st_mtime_ns, status.st_ino
        except (OSError, ValueError) as error:
            log.error("service_keys_unreadable", file=str(self._keys_file), error=repr(error))


def parse_service_keys(raw: bytes) -> dict[str, ServiceKey]:
    """Parse the list of public keys into keys by id; each entry names its service. Raises ValueError."""
    try:
        return {entry["kid"]: ServiceKey(entry["service"], verification_key(entry)) for entry in _entries(raw)}
    except (KeyError, TypeError, jwt.PyJWTError) as error:
        raise ValueError(f"not a list of services' keys: {error!r}") from error


def _entries(raw: bytes) -> list[Mapping[str, str]]:
    entries: list[Mapping[str, str]] = json.loads(raw)["keys"]
    return entries
