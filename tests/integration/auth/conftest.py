"""Auth over HTTP, and its operations with an explicit clock."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.auth.app import build
from services.auth.operations.authentication import AuthContext
from services.auth.operations.passwords import Passwords
from services.auth.operations.signing_keys import SigningKeys
from services.auth.operations.tokens import AccessTokens
from services.auth.settings import AuthSettings
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.testing.api_client import ApiClient, open_client
from tests.integration.accounts import auth_settings


@pytest.fixture
def settings(service_env: Callable[[str], dict[str, str]], tmp_path: Path) -> AuthSettings:
    return auth_settings(service_env("auth"), tmp_path)


@pytest.fixture
async def auth(settings: AuthSettings) -> AsyncIterator[ApiClient]:
    async with RunningService(build, settings, roles={"http"}) as running, open_client(running.url) as client:
        yield client


@pytest.fixture
async def database(settings: AuthSettings) -> AsyncIterator[Database]:
    opened = await Database.connect(settings)
    yield opened
    await opened.close()


@pytest.fixture
async def desk(settings: AuthSettings, database: Database) -> AsyncIterator[AuthContext]:
    passwords = Passwords(8, settings.auth_password_memory_kib)
    tokens = AccessTokens(SigningKeys(settings.auth_signing_key_file), issuer="us", audience="api", ttl_s=600)
    yield AuthContext(database, passwords, tokens, settings.refresh_token_ttl, settings.longest_login)
    await passwords.close()
