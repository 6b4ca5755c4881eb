"""Who calls trading over HTTP: tokens of a key of the tests' own, and the page that publishes it."""

import json
import time
from uuid import UUID

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm


class Tokens:
    """Signs for whoever it is asked to."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    async def answer_jwks(self, _: web.Request) -> web.Response:
        published = json.loads(OKPAlgorithm.to_jwk(self._key.public_key()))
        return web.json_response({"keys": [{**published, "kid": "test", "alg": "EdDSA", "use": "sig"}]})

    def token(self, public_id: UUID) -> str:
        now = int(time.time())
        claims = {"iss": "tradefleet", "aud": "tradefleet-api", "iat": now, "exp": now + 600}
        return jwt.encode(
            {**claims, "sub": str(public_id)},
            self._key,
            algorithm="EdDSA",
            headers={"kid": "test", "typ": "at+jwt"},
        )
