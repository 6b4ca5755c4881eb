"""Settings and an HTTP client for tests of auth and billing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from stack.environment import SHARED_ADDRESS_LIMITS
from tests.pace import patient

T = TypeVar("T")
Json = dict[str, object]
PASSWORD = "correct horse battery"


def write_signing_key(folder: Path) -> Path:
    path = folder / "signing.pem"
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def auth_settings(env: Mapping[str, str], folder: Path) -> AuthSettings:
    values: dict[str, object] = {name.lower(): value for name, value in env.items()}
    limits: dict[str, object] = {name.lower(): value for name, value in SHARED_ADDRESS_LIMITS.items()}
    return AuthSettings.model_validate({**limits, **values, "auth_signing_key_file": write_signing_key(folder)})


def billing_settings(env: Mapping[str, str], jwks_url: str = "") -> BillingSettings:
    values: dict[str, object] = {name.lower(): value for name, value in env.items()}
    return BillingSettings.model_validate({**values, "http_port": 0, "jwks_url": jwks_url})


@dataclass(frozen=True)
class Answer:
    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return str(self.body[name])


class Client:
    """Calls one service over HTTP."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        **more: str,
    ) -> Answer:
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        sent |= {name.replace("_", "-"): value for name, value in more.items()}
        async with self._session.request(method, self.url + path, json=body, headers=sent) as answer:
            is_json = "json" in answer.content_type and await answer.read()
            decoded = await answer.json(content_type=None) if is_json else {}
            return Answer(answer.status, decoded, answer.headers)

    async def register(self, email: str, **more: object) -> Answer:
        return await self.call("POST", "/v1/auth/register", {"email": email, "password": PASSWORD, **more})

    async def log_in(self, email: str, password: str = PASSWORD) -> Answer:
        return await self.call("POST", "/v1/auth/login", {"email": email, "password": password})

    async def refresh(self, refresh_token: str) -> Answer:
        return await self.call("POST", "/v1/auth/refresh", {"refresh_token": refresh_token})


def public_id_of(token: str) -> UUID:
    """Return the public id of the token's user, without verifying the token."""
    return UUID(jwt.decode(token, options={"verify_signature": False})["sub"])


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(url, session)


async def eventually(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], within_s: float = 20) -> T:
    """Poll `look` until `wanted` accepts its result, and return that; fail with the last result after the
    time-out."""
    loop = asyncio.get_running_loop()
    within_s = patient(within_s)
    deadline = loop.time() + within_s
    while not wanted(seen := await look()):
        assert loop.time() < deadline, f"still {seen!r} after {within_s} s"
        await asyncio.sleep(0.05)
    return seen
