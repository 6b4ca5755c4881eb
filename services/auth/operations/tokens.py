"""Access tokens and the key that signs them; refresh tokens, which are 256 random bits."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from jwt import PyJWK

from shared.chassis.auth import ALGORITHM, TOKEN_TYPE

SCOPES_OF_A_LOGIN = "read trade"
LONGEST_REFRESH_TOKEN = 200


def new_secret() -> str:
    """256 random bits, as text."""
    return secrets.token_urlsafe(32)


def secret_sha256(secret: str) -> bytes:
    """The form in which a secret is stored."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True)
class IssuedTokens:
    access_token: str
    refresh_token: str
    expires_in_s: int


class AccessTokens:
    """Signs access tokens; `public_key` is what everybody checks them with."""

    def __init__(self, key_file: Path, *, issuer: str, audience: str, ttl_s: int) -> None:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{key_file} holds no Ed25519 private key")
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self.ttl_s = ttl_s
        self.public_key = _public_jwk(key)

    def verification_keys(self) -> dict[str, PyJWK]:
        """By key id, for checking tokens in this process."""
        return {self.public_key["kid"]: PyJWK(dict(self.public_key), algorithm=ALGORITHM)}

    def sign(self, public_id: UUID, session_id: UUID, token_id: str, now: datetime) -> str:
        """A token for one log-in. The subject is the public id; the tenant's number stays inside."""
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
        return jwt.encode(claims, self._key, ALGORITHM, headers={"typ": TOKEN_TYPE, "kid": self.public_key["kid"]})


def _public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """RFC 8037; the key's id is its thumbprint (RFC 7638)."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
    thumbprint = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode())
    return {**members, "use": "sig", "alg": ALGORITHM, "kid": _base64url(thumbprint.digest())}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
