"""A token from a host whose clock is slightly ahead is accepted; `token-from-a-clock-ahead` has its claims."""

import json
from pathlib import Path

import pytest

from shared.chassis.auth import TokenVerifier
from shared.chassis.clock import utc_now
from shared.chassis.errors import Unauthorized
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from shared.testing.tokens import TokenIssuer, serve_tokens

pytestmark = pytest.mark.beside_checkout


def _token(issuer: TokenIssuer, claims: dict[str, str], ahead_s: float) -> str:
    now = utc_now().timestamp() + ahead_s
    scopes, exp = claims["scope"].split(), now - ahead_s + 300
    return issuer.make_token(new_id(), scopes, iss=claims["iss"], aud=claims["aud"], iat=now, exp=exp)


async def test_the_claims_of_the_case_are_accepted_and_those_ten_minutes_ahead_are_not(shared_folder: Path) -> None:
    claims = json.loads((shared_folder / "cases/token-from-a-clock-ahead/claims.json").read_text())
    dsns = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), "")
    async with serve_tokens() as issuer:
        settings = {**dsns, "service": "trading", "kafka_bootstrap": "", "jwks_url": issuer.jwks_url}
        verifier = TokenVerifier(ServiceSettings.model_validate(settings))
        for ahead_s in (0.2, 1.2, 2.0):
            assert (await verifier.claims(_token(issuer, claims, ahead_s))).scopes == {"read", "trade"}
        with pytest.raises(Unauthorized):
            await verifier.claims(_token(issuer, claims, 600))
