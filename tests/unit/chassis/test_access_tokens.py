"""Access tokens: when they are valid, which scopes they carry, and which keys verify them."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.chassis import keys
from shared.chassis.auth import TokenVerifier
from shared.chassis.clock import utc_now
from shared.chassis.errors import Unauthorized, Unavailable
from shared.chassis.keys import RemoteKeys, verification_key
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from shared.testing.tokens import SCOPES, TokenIssuer

DSNS = dict.fromkeys(("postgres_app_dsn", "postgres_worker_dsn", "postgres_queue_dsn"), "")
SETTINGS = ServiceSettings.model_validate({**DSNS, "service": "x", "kafka_bootstrap": ""})


class OneKey:
    version = 0

    def __init__(self, issuer: TokenIssuer) -> None:
        self._jwk: dict[str, str] = issuer.jwks()["keys"][0]  # type: ignore[index]  # a list of one key

    async def find(self, kid: str) -> jwt.PyJWK | None:
        return verification_key(self._jwk) if kid == self._jwk["kid"] else None


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
def verifier(issuer: TokenIssuer) -> TokenVerifier:
    return TokenVerifier(SETTINGS, OneKey(issuer))


def _token(issuer: TokenIssuer, claims: Mapping[str, object]) -> str:
    return issuer.make_token(new_id(), SCOPES, session_id=None, lasts=timedelta(minutes=10), **claims)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("ahead_s", [0, 0.2, 1, 2, 4])
async def test_a_token_from_a_clock_slightly_ahead_is_accepted(
    issuer: TokenIssuer, verifier: TokenVerifier, claim: str, ahead_s: float
) -> None:
    ahead = utc_now().timestamp() + ahead_s
    await verifier.claims(_token(issuer, {claim: ahead}))


@pytest.mark.parametrize(
    "claims",
    [
        lambda now: {"iat": now + 600, "exp": now + 900},
        lambda now: {"iat": now + 7},
        lambda now: {"nbf": now + 7},
        lambda now: {"exp": now},
        lambda now: {"exp": now - 1},
        lambda now: {"exp": now - 4},  # no leeway for the expiry
        lambda now: {"iat": "yesterday"},
        lambda now: {"iat": None},
        lambda now: {"iat": True},
        lambda now: {"nbf": "soon"},
        lambda now: {"exp": "never"},
        lambda now: {"exp": float("inf")},
        lambda now: {"exp": float("nan")},
    ],
)
async def test_a_token_that_is_not_valid_now_is_refused(
    issuer: TokenIssuer, verifier: TokenVerifier, claims: Callable[[float], dict[str, object]]
) -> None:
    with pytest.raises(Unauthorized):
        await verifier.claims(_token(issuer, claims(utc_now().timestamp())))


@pytest.mark.parametrize(
    ("scope", "has"),
    [
        ("read trade admin", {"read", "trade", "admin"}),
        ("read", {"read"}),
        ("", set()),
        ("READ", set()),
        ("root", set()),
        ("read root", {"read"}),
        ("readtrade", set()),
        ("read,trade", set()),
        ("read\ttrade", set()),
        (None, set()),
        (["read", "trade"], set()),
        ([" trade "], set()),
        ({"read": True}, set()),
        (7, set()),
    ],
)
async def test_a_token_has_only_known_scopes(
    issuer: TokenIssuer, verifier: TokenVerifier, scope: object, has: set[str]
) -> None:
    claims = await verifier.claims(issuer.make_token(new_id(), scope=scope))
    assert claims.scopes == has


class Jwks:
    """A published key list that can change and become unavailable."""

    def __init__(self) -> None:
        self.entries: list[object] = []
        self.unavailable = False
        self.fetched = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.fetched += 1
        return web.Response(status=503) if self.unavailable else web.json_response({"keys": self.entries})


def _entry(issuer: TokenIssuer, kid: str) -> dict[str, object]:
    return {**issuer.jwks()["keys"][0], "kid": kid}  # type: ignore[index]  # a list of one key


async def test_an_unknown_key_is_fetched_and_the_last_known_keys_are_kept(
    issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = Jwks()
    app = web.Application()
    app.router.add_get("/jwks", published.answer)
    async with TestServer(app) as server:
        found = RemoteKeys(str(server.make_url("/jwks")))
        published.unavailable = True
        with pytest.raises(Unavailable):
            await found.find("one")
        published.unavailable = False
        published.entries = [_entry(issuer, "one")]
        monkeypatch.setattr(keys, "FIRST_AT_MOST_EVERY_S", -1.0)
        assert await found.find("one") is not None
        fetched = published.fetched
        for number in range(50):  # invented keys do not cause a request to auth each time
            assert await found.find(f"invented {number}") is None
        assert published.fetched == fetched
        published.entries.append(_entry(issuer, "two"))
        monkeypatch.setattr(keys, "REFETCH_AT_MOST_EVERY_S", -1.0)
        assert await found.find("two") is not None
        published.unavailable = True
        assert await found.find("three") is None
        assert [await found.find(kid) is not None for kid in ("one", "two")] == [True, True]
        published.unavailable, published.entries = False, []
        assert await found.find("three") is None
        assert await found.find("one") is not None  # an empty list is ignored


async def test_a_withdrawn_key_is_no_longer_trusted(issuer: TokenIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a token that was verified with it and is cached."""
    published = Jwks()
    app = web.Application()
    app.router.add_get("/jwks", published.answer)
    async with TestServer(app) as server:
        published.entries = [_entry(issuer, "test-key"), _entry(TokenIssuer(), "other")]
        settings = SETTINGS.model_copy(update={"jwks_url": str(server.make_url("/jwks"))})
        verifier = TokenVerifier(settings)
        token = issuer.make_token(new_id(), lasts=timedelta(minutes=5))
        await verifier.claims(token)
        del published.entries[0]
        monkeypatch.setattr(keys, "REFETCH_AT_MOST_EVERY_S", -1.0)
        with pytest.raises(Unauthorized):
            await verifier.claims(TokenIssuer().make_token(new_id(), lasts=timedelta(seconds=1)) + "x")
        assert published.fetched == 1
        monkeypatch.setattr(keys, "REFRESH_EVERY_S", -1.0)
        found = verifier._keys
        assert isinstance(found, RemoteKeys)
        await found.find("test-key")
        assert found._refreshing is not None
        await found._refreshing
        monkeypatch.setattr(keys, "REFRESH_EVERY_S", 60.0)
        with pytest.raises(Unauthorized):
            await verifier.claims(token)
