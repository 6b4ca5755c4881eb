"""Authentication of users by access token."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from shared.chassis.clock import utc_now
from shared.chassis.ended_logins import EndedLogins
from shared.chassis.errors import Unauthorized
from shared.chassis.identity import UserDirectory
from shared.chassis.keys import KeySource, RemoteKeys
from shared.chassis.settings import ServiceSettings
from shared.chassis.signed_tokens import MALFORMED, body_of, key_id_of

TOKEN_TYPE = "at+jwt"
CACHE_LIMIT = 20_000

Scope = Literal["read", "trade", "admin"]
SCOPES: frozenset[str] = frozenset(get_args(Scope))
NOTHING_ENDED = EndedLogins()


@dataclass(frozen=True)
class Principal:
    """The authenticated caller: the tenant and the scopes of the token."""

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
    """Verifies access tokens with auth's published keys; caches a verified one until it expires."""

    def __init__(
        self,
        settings: ServiceSettings,
        keys: KeySource | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`keys` is for auth itself; other services fetch the keys from auth."""
        self._settings = settings
        self._clock = clock
        self._keys = keys or RemoteKeys(settings.jwks_url)
        self._verified: dict[str, Claims] = {}
        self._verified_by = self._keys.version

    async def claims(self, token: str) -> Claims:
        """Raises Unauthorized, or Unavailable if auth's keys could never be fetched."""
        if self._verified_by != self._keys.version:
            self._verified_by = self._keys.version
            self._verified.clear()
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
        key = await self._keys.find(key_id_of(token, TOKEN_TYPE))
        if key is None:
            raise Unauthorized
        body = body_of(
            token,
            key,
            issuer=self._settings.token_issuer,
            audience=self._settings.token_audience,
            now=self._clock(),
            required=["sub"],
        )
        try:
            session = body.get("sid")
            return Claims(
                UUID(body["sub"]),
                _scopes_in(body.get("scope")),
                UUID(session) if session else None,
                int(body["exp"]),
            )
        except MALFORMED as error:
            raise Unauthorized from error


def _scopes_in(claim: object) -> frozenset[str]:
    """Return the known scopes in the claim; a token without the claim has none."""
    return SCOPES.intersection(claim.split(" ")) if isinstance(claim, str) else frozenset()


class Authenticator:
    """Turns an Authorization header into a principal, for the HTTP layer."""

    def __init__(self, verifier: TokenVerifier, users: UserDirectory, ended: EndedLogins = NOTHING_ENDED) -> None:
        self._verifier = verifier
        self._users = users
        self._ended = ended

    async def principal(self, authorization: str | None) -> Principal:
        """Raises Unauthorized (401), AccountNotReady or Unavailable (503)."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        claims = await self._verifier.claims(token.strip())
        if claims.session_id is not None and claims.session_id in self._ended:
            raise Unauthorized("this login has ended")
        user_id = await self._users.user_id(claims.public_id)
        return Principal(user_id, claims.public_id, claims.scopes, claims.session_id, claims.expires_at)
