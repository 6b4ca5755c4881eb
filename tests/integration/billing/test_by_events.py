"""Registration at auth starts a trial at billing, which auth shows: over real Kafka."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from services.auth.app import build as build_auth
from services.billing.app import build as build_billing
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Outgoing
from shared.chassis.service import RunningService
from shared.contracts.types import new_id
from shared.testing.api_client import Answer, ApiClient, open_client, public_id_of
from stack.billing_database import grant
from stack.failure import BadInput
from tests.integration.accounts import auth_settings, billing_settings, eventually
from tests.integration.billing.conftest import NOW, closed_event


@dataclass(frozen=True)
class Platform:
    auth: ApiClient
    billing: ApiClient
    billing_dsn: str
    at_billing: RunningService


@pytest.fixture
async def platform(service_env: Callable[[str], dict[str, str]], tmp_path: Path) -> AsyncIterator[Platform]:
    async with RunningService(build_auth, auth_settings(service_env("auth"), tmp_path)) as auth:
        settings = billing_settings(service_env("billing"), f"{auth.url}/.well-known/jwks.json")
        async with RunningService(build_billing, settings) as billing:
            async with open_client(auth.url) as at_auth, open_client(billing.url) as at_billing:
                yield Platform(at_auth, at_billing, settings.postgres_app_dsn.get_secret_value(), billing)


async def _tier(platform: Platform, token: str, wanted: str) -> Answer:
    return await eventually(
        lambda: platform.auth.call("GET", "/v1/me", token=token),
        lambda answer: answer.body["plan"] == wanted,
    )


async def test_registering_leads_to_a_trial_that_auth_shows(platform: Platform) -> None:
    token = (await platform.auth.register("ann@example.org")).text("access_token")
    own = (await platform.billing.call("GET", "/v1/subscription", token=token)).body
    assert (own["plan"], own["status"]) == ("PREMIUM", "TRIAL")
    me = (await _tier(platform, token, "PREMIUM")).body
    assert me["trial_ends_at"] == own["trial_ends_at"] is not None


async def test_a_grant_waits_for_a_new_user_and_reaches_auth(platform: Platform) -> None:
    token = (await platform.auth.register("Ann@example.org")).text("access_token")
    granted = await grant(platform.billing_dsn, "ann@EXAMPLE.org", "PRO")
    assert (granted.plan, granted.changed) == ("PRO", True)
    assert (await platform.billing.call("GET", "/v1/subscription", token=token)).body["plan"] == "PRO"
    await _tier(platform, token, "PRO")
    assert not (await grant(platform.billing_dsn, "ann@example.org", "PRO")).changed


async def test_a_grant_for_an_unknown_email_is_refused_in_one_line(platform: Platform) -> None:
    with pytest.raises(BadInput, match=r"^no user is registered as nobody@example\.org$"):
        await grant(platform.billing_dsn, "nobody@example.org", "PRO", wait_s=0.2)


@pytest.mark.usefixtures("any_source")
async def test_usage_counts_a_trade_once_however_often_it_is_published(platform: Platform) -> None:
    token = (await platform.auth.register("ann@example.org")).text("access_token")
    assert (await platform.billing.call("GET", "/v1/usage", token=token)).body["total_trades"] == 0
    of_ann = partial(closed_event, 1, NOW, public_id=public_id_of(token))
    trade = of_ann()
    async with platform.at_billing.database.tenant(1) as connection:
        await emit(connection, trade, trade, of_ann(), of_ann(paper=False))
    usage = await eventually(
        lambda: platform.billing.call("GET", "/v1/usage", token=token),
        lambda answer: answer.body["total_trades"] == 3,
    )
    assert (usage.body["paper_trades"], usage.body["live_trades"]) == (2, 1)
    meters = usage.body["meters"]
    live = next(meter for meter in meters if meter["meter"] == "live_trades")
    assert (live["used"], live["limit"], live["remaining"]) == (1, 1000, 999)


async def test_a_trade_forged_for_another_tenant_has_no_effect(platform: Platform) -> None:
    ann = (await platform.auth.register("ann@example.org")).text("access_token")
    await platform.billing.call("GET", "/v1/usage", token=ann)
    forged = closed_event(1, NOW)
    headers = {"ce_id": str(new_id()), "ce_time": "2026-01-31T09:30:00Z", "ce_dataschema": "x:1"}
    body = forged.model_dump_json().encode()
    await platform.at_billing.producer.send([Outgoing(forged.topic, "2", headers, body)])

    async def parked() -> int:
        async with platform.at_billing.database.queue() as connection:
            count: int = await connection.fetchval("SELECT count(*) FROM parked")
        return count

    await eventually(parked, lambda count: count == 1)
    assert (await platform.billing.call("GET", "/v1/usage", token=ann)).body["total_trades"] == 0


async def test_plans_are_public_and_everything_else_needs_a_token(platform: Platform) -> None:
    plans = (await platform.billing.call("GET", "/v1/plans")).body["items"]
    assert [plan["plan"] for plan in plans] == ["FREE", "PREMIUM", "PRO"]
    for path in ("/v1/usage", "/v1/subscription"):
        assert (await platform.billing.call("GET", path)).status == 401
