"""The chassis accepts the tokens of the test issuer, and they have the same shape as those of auth."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from services.auth.operations.signing_keys import SigningKeys
from services.auth.operations.tokens import AccessTokens
from shared.chassis.auth import TokenVerifier
from shared.chassis.clock import utc_now
from shared.chassis.errors import Unauthorized
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from shared.testing.tokens import TokenIssuer, serve_tokens
from tests.integration.accounts import write_signing_key


@pytest.fixture
async def issuer() -> AsyncIterator[TokenIssuer]:
    async with serve_tokens() as served:
        yield served


@pytest.fixture
def verifier(issuer: TokenIssuer) -> TokenVerifier:
    dsns = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), "")
    settings = {"service": "x", "kafka_bootstrap": "", "jwks_url": issuer.jwks_url}
    return TokenVerifier(ServiceSettings.model_validate({**dsns, **settings}))


async def test_the_chassis_verifies_them_with_the_published_key(
    issuer: TokenIssuer, verifier: TokenVerifier
) -> None:
    public_id, session_id = new_id(), new_id()
    claims = await verifier.claims(issuer.make_token(public_id, ["read"], session_id=session_id))
    assert (claims.public_id, claims.scopes, claims.session_id) == (public_id, frozenset({"read"}), session_id)


async def test_another_key_or_an_expired_token_is_refused(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    for token in (TokenIssuer().make_token(new_id()), issuer.make_token(new_id(), lasts=timedelta(seconds=-1))):
        with pytest.raises(Unauthorized):
            await verifier.claims(token)


async def test_they_have_the_same_members_as_tokens_of_auth(issuer: TokenIssuer, tmp_path: Path) -> None:
    auth = AccessTokens(
        SigningKeys(write_signing_key(tmp_path)), issuer="tradefleet", audience="tradefleet-api", ttl_s=600
    )
    theirs = auth.sign(new_id(), new_id(), str(new_id()), utc_now())
    ours = issuer.make_token(new_id())
    assert _members(ours) == _members(theirs)


def _members(token: str) -> tuple[set[str], set[str]]:
    return set(jwt.get_unverified_header(token)), set(jwt.decode(token, options={"verify_signature": False}))
