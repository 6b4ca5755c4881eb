"""Issues access tokens like auth and serves their public key, for tests without auth."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from shared.chassis.auth import TOKEN_TYPE
from shared.chassis.clock import utc_now
from shared.chassis.keys import ALGORITHM
from shared.contracts.types import new_id

KEY_ID = "test-key"
SCOPES = ("read", "trade", "admin")


class TokenIssuer:
    """Signs with its own key; `jwks_url` serves the public key while `serve_tokens` runs."""

    def __init__(self, issuer: str = "tradefleet", audience: str = "tradefleet-api") -> None:
        self._key = Ed25519PrivateKey.generate()
        self._issuer = issuer
        self._audience = audience
        self.jwks_url = ""

    def jwks(self) -> dict[str, object]:
        """Return the document of `/.well-known/jwks.json`."""
        public = OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**public, "use": "sig", "alg": ALGORITHM, "kid": KEY_ID}]}

    def make_token(
        self,
        public_id: UUID,
        scopes: Collection[str] = SCOPES,
        *,
        session_id: UUID | None = None,
        lasts: timedelta = timedelta(minutes=10),
        **claims: object,
    ) -> str:
        """Sign a token for this user; `claims` replaces or adds claims."""
        now = utc_now()
        written = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(public_id),
            "sid": str(session_id or new_id()),
            "jti": str(new_id()),
            "iat": now,
            "exp": now + lasts,
            "scope": " ".join(scopes),
        }
        return jwt.encode({**written, **claims}, self._key, ALGORITHM, {"typ": TOKEN_TYPE, "kid": KEY_ID})


@asynccontextmanager
async def serve_tokens() -> AsyncIterator[TokenIssuer]:
    """Yield an issuer whose key can be fetched over HTTP."""
    issuer = TokenIssuer()

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(issuer.jwks())

    app = web.Application()
    app.router.add_get("/.well-known/jwks.json", answer)
    async with TestServer(app) as server:
        issuer.jwks_url = str(server.make_url("/.well-known/jwks.json"))
        yield issuer
