"""Access tokens (JWT) and refresh tokens (256 random bits)."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import jwt

from services.auth.operations.signing_keys import SigningKeys
from shared.chassis.auth import TOKEN_TYPE
from shared.chassis.keys import ALGORITHM

SCOPES_OF_A_LOGIN = "read trade admin"
LONGEST_REFRESH_TOKEN = 200


def new_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def secret_sha256(secret: str) -> bytes:
    """Return the hash under which a secret is stored."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True)
class IssuedTokens:
    access_token: str
    refresh_token: str
    expires_in_s: int


class AccessTokens:
    """Signs access tokens with the current signing key."""

    def __init__(self, keys: SigningKeys, *, issuer: str, audience: str, ttl_s: int) -> None:
        self.keys = keys
        self._issuer = issuer
        self._audience = audience
        self.ttl_s = ttl_s

    def sign(self, public_id: UUID, session_id: UUID, token_id: str, now: datetime) -> str:
        """Return an access token for a login. The subject is the public id; the user id is not disclosed."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(public_id),
            "sid": str(session_id),
            "jti": token_id,
            "iat": now,
            "exp": now + timedelta(seconds=self.ttl_s),
            "scope": SCOPES_OF_A_LOGIN,
        }
        key = self.keys.signing(now)
        return jwt.encode(claims, key.private, ALGORITHM, headers={"typ": TOKEN_TYPE, "kid": key.kid})
