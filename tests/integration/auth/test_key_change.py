"""Auth's signing key changes while users log in, refresh and call the API: no request fails."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from services.auth.app import build as build_auth
from services.auth.operations import signing_keys
from services.notifications.app import build as build_notifications
from services.notifications.settings import NotificationsSettings
from shared.chassis.clock import utc_now
from shared.chassis.service import RunningService
from shared.testing.api_client import ApiClient, open_client
from stack.migrate import DatabaseAccess
from stack.service_keys import new_private_key
from tests.conftest import ServiceEnv
from tests.integration.accounts import auth_settings
from tests.integration.auth.test_ended_elsewhere import project_users


@pytest.fixture
async def both(service_env: ServiceEnv, tmp_path: Path) -> AsyncIterator[tuple[ApiClient, ApiClient, Path]]:
    folder = tmp_path / "keys"
    folder.mkdir()
    settings = auth_settings(service_env("auth"), tmp_path).model_copy(update={"auth_signing_keys": folder})
    async with RunningService(build_auth, settings, {"http", "relay"}) as auth, open_client(auth.url) as client:
        values = {name.lower(): value for name, value in service_env("notifications").items()}
        given = {**values, "jwks_url": f"{auth.url}/.well-known/jwks.json"}
        elsewhere = NotificationsSettings.model_validate(given)
        async with (
            RunningService(build_notifications, elsewhere, {"http"}) as service,
            open_client(service.url) as other,
        ):
            yield client, other, folder


async def test_no_request_fails_while_the_key_changes(
    both: tuple[ApiClient, ApiClient, Path], database_access: DatabaseAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "PUBLISH_LEAD", timedelta(seconds=3))
    auth, _, folder = both
    first = await auth.register("ann@example.org")

    async def statuses() -> tuple[int, int]:
        token = first.text("access_token")
        return tuple([(await client.call("GET", path, token=token)).status for client, path in _reads(both)])  # type: ignore[return-value]  # a pair

    await project_users(database_access.owner_dsn)
    assert await statuses() == (200, 200)
    kids: dict[str, int] = {}
    refresh_token = first.text("refresh_token")
    loop = asyncio.get_running_loop()
    changed_at, ends = loop.time() + 1.0, loop.time() + 8.0
    while loop.time() < ends:
        if loop.time() > changed_at and not list(folder.iterdir()):
            (folder / f"{utc_now():%Y%m%dT%H%MZ}.pem").write_bytes(new_private_key())
        answer = await auth.refresh(refresh_token)
        assert answer.status == 200, answer
        refresh_token, token = answer.text("refresh_token"), answer.text("access_token")
        kid = str(jwt.get_unverified_header(token)["kid"])
        kids[kid] = kids.get(kid, 0) + 1
        for given in (token, first.text("access_token")):
            for client, path in _reads(both):
                read = await client.call("GET", path, token=given)
                assert read.status == 200, (kids, client.url, read)
        await asyncio.sleep(0.05)
    assert len(kids) == 2, kids
    published = (await auth.call("GET", "/.well-known/jwks.json")).body["keys"]
    assert [key["kid"] for key in published] == list(kids)


def _reads(both: tuple[ApiClient, ApiClient, Path]) -> list[tuple[ApiClient, str]]:
    auth, elsewhere, _ = both
    return [(auth, "/v1/me"), (elsewhere, "/v1/alerts")]
