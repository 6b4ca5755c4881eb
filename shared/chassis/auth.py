"""From an access token to the one who calls."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import aiohttp
import jwt
import structlog
from jwt import PyJWK

from shared.chassis.clock import utc_now
from shared.chassis.errors import Unauthorized, Unavailable
from shared.chassis.identity import UserDirectory
from shared.chassis.settings import ServiceSettings

ALGORITHM = "EdDSA"
TOKEN_TYPE = "at+jwt"
CACHE_LIMIT = 20_000
REFETCH_AT_MOST_EVERY_S = 2.0
LONGEST_TOKEN = 2_048

log = structlog.get_logger()


@dataclass(frozen=True)
class Principal:
    """Who calls: the tenant, and what the token lets him do."""

    user_id: int
    public_id: UUID
    scopes: frozenset[str]
    session_id: UUID | None
    token_expires_at: int = 0  # seconds since 1970


@dataclass(frozen=True)
class Claims:
    public_id: UUID
    scopes: frozenset[str]
    session_id: UUID | None
    expires_at: int


class TokenVerifier:
    """Checks access tokens against auth's published keys; remembers a verified one until it expires."""

    def __init__(
        self,
        settings: ServiceSettings,
        keys: Mapping[str, PyJWK] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`keys` by their ids are known beforehand: auth's own."""
        self._settings = settings
        self._clock = clock
        self._keys: dict[str, PyJWK] = dict(keys or {})
        self._fetched_at = 0.0
        self._fetching = asyncio.Lock()
        self._verified: dict[str, Claims] = {}

    async def claims(self, token: str) -> Claims:
        """Raises Unauthorized; Unavailable if auth's keys were never seen."""
        known = self._verified.get(token)
        if known is not None:
            if known.expires_at > self._clock().timestamp():
                return known
            del self._verified[token]
        claims = await self._verify(token)
        if len(self._verified) >= CACHE_LIMIT:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    async def _verify(self, token: str) -> Claims:
        if len(token) > LONGEST_TOKEN:
            raise Unauthorized
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, UnicodeError, ValueError) as error:
            raise Unauthorized from error
        if header.get("alg") != ALGORITHM or header.get("typ") != TOKEN_TYPE:
            raise Unauthorized
        key = await self._key(str(header.get("kid", "")))
        try:
            body = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._settings.token_issuer,
                audience=self._settings.token_audience,
                options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_exp": False, "verify_iat": False},
            )
            if not int(body["iat"]) <= self._clock().timestamp() < int(body["exp"]):
                raise Unauthorized
            session = body.get("sid")
            return Claims(
                UUID(body["sub"]),
                frozenset(str(body.get("scope", "")).split()),
                UUID(session) if session else None,
                int(body["exp"]),
            )
        except (jwt.InvalidTokenError, ValueError, AttributeError, TypeError) as error:
            raise Unauthorized from error

    async def _key(self, kid: str) -> PyJWK:
        if kid not in self._keys:
            async with self._fetching:
                if kid not in self._keys and time.monotonic() - self._fetched_at > REFETCH_AT_MOST_EVERY_S:
                    await self._fetch()
        if kid in self._keys:
            return self._keys[kid]
        if not self._keys:
            raise Unavailable("auth's keys cannot be had at the moment", retry_after_s=2)
        raise Unauthorized

    async def _fetch(self) -> None:
        """Keep the last keys if auth does not answer."""
        if not self._settings.jwks_url:
            return
        try:
            timeout = aiohttp.ClientTimeout(total=3)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                async with session.get(self._settings.jwks_url) as answer:
                    answer.raise_for_status()
                    body = await answer.json(content_type=None)
            self._keys = {entry["kid"]: PyJWK(entry, algorithm=ALGORITHM) for entry in body["keys"]}
            self._fetched_at = time.monotonic()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, jwt.PyJWKError) as error:
            log.warning("jwks_unavailable", error=repr(error))


class Authenticator:
    """Token → principal, for the HTTP layer."""

    def __init__(self, verifier: TokenVerifier, users: UserDirectory) -> None:
        self._verifier = verifier
        self._users = users

    async def principal(self, authorization: str | None) -> Principal:
        """Raises Unauthorized (401), AccountNotReady or Unavailable (503)."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        claims = await self._verifier.claims(token.strip())
        user_id = await self._users.user_id(claims.public_id)
        return Principal(user_id, claims.public_id, claims.scopes, claims.session_id, claims.expires_at)
