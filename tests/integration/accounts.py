"""Settings of auth and billing, and waiting, for tests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from stack.environment import SHARED_ADDRESS_LIMITS
from tests.pace import patient

T = TypeVar("T")


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
