"""Internal calls carry a token signed with the caller's own key, for one service and one minute."""

from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from shared.chassis import service_tokens
from shared.chassis.auth import TOKEN_TYPE as ACCESS_TOKEN
from shared.chassis.clock import utc_now
from shared.chassis.errors import Forbidden, Unauthorized
from shared.chassis.keys import ALGORITHM, load_private_key, public_jwk
from shared.chassis.service_tokens import TOKEN_TYPE, ServiceCallers, ServiceTokens
from shared.contracts.types import new_id
from shared.testing.tokens import TokenIssuer
from stack.service_keys import key_file_of, list_file_of, make_service_keys, new_private_key, publish

ALLOWED = frozenset({"analytics", "notifications"})


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(service_tokens, "CHECK_FILE_EVERY_S", -1.0)  # checked at each call
    make_service_keys(tmp_path, ("trading", "billing", "analytics", "notifications"))
    return tmp_path


@pytest.fixture
def trading(keys: Path) -> ServiceCallers:
    return ServiceCallers("trading", list_file_of(keys))


def _signed(keys: Path, caller: str, *, kind: str = TOKEN_TYPE, lasts: float = 60, **claims: object) -> str:
    key = load_private_key(key_file_of(keys, caller))
    now = utc_now()
    body = {"iss": caller, "aud": "trading", "iat": now, "exp": now + timedelta(seconds=lasts), **claims}
    return jwt.encode(body, key, ALGORITHM, {"typ": kind, "kid": public_jwk(key)["kid"]})


def test_a_caller_is_identified_by_its_key(keys: Path, trading: ServiceCallers) -> None:
    tokens = ServiceTokens("analytics", key_file_of(keys, "analytics"))
    header = tokens.authorization("trading")["Authorization"]
    assert trading.check(header, ALLOWED) == "analytics"
    assert tokens.authorization("trading")["Authorization"] == header  # reused until shortly before it expires
    assert trading.check(f"bearer {_signed(keys, 'notifications')}", ALLOWED) == "notifications"


def test_a_service_that_is_not_allowed_is_refused(keys: Path, trading: ServiceCallers) -> None:
    with pytest.raises(Forbidden):
        trading.check(f"Bearer {_signed(keys, 'billing')}", ALLOWED)


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "billing"},
        {"aud": "tradefleet-api"},
        {"iss": "notifications"},
        {"iss": "tradefleet"},
        {"lasts": -1},
        {"lasts": 61},
        {"lasts": 3_600},
        {"iat": utc_now() + timedelta(minutes=10), "exp": utc_now() + timedelta(minutes=11)},
        {"kind": ACCESS_TOKEN},
        {"kind": "JWT"},
        {"exp": "never"},
        {"exp": float("inf")},
        {"iat": None},
    ],
    ids=lambda changed: " and ".join(changed),
)
def test_a_token_for_another_service_or_time_is_refused(
    keys: Path, trading: ServiceCallers, changed: dict[str, object]
) -> None:
    kind, lasts = str(changed.pop("kind", TOKEN_TYPE)), float(str(changed.pop("lasts", 60)))
    with pytest.raises(Unauthorized):
        trading.check(f"Bearer {_signed(keys, 'analytics', kind=kind, lasts=lasts, **changed)}", ALLOWED)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic eA==", "Bearer \udcff", "Bearer x.y.z"])
def test_an_invalid_token_is_refused(trading: ServiceCallers, header: str | None) -> None:
    with pytest.raises(Unauthorized):
        trading.check(header, ALLOWED)


def test_a_users_access_token_is_refused_for_internal_calls(trading: ServiceCallers) -> None:
    with pytest.raises(Unauthorized):
        trading.check(f"Bearer {TokenIssuer().make_token(new_id())}", ALLOWED)


def test_during_a_rotation_both_keys_are_accepted_and_then_only_the_new_one(
    keys: Path, trading: ServiceCallers
) -> None:
    old = _signed(keys, "analytics")
    coming = keys / "coming.pem"
    coming.write_bytes(new_private_key())
    publish(keys, "analytics", coming)
    assert trading.check(f"Bearer {old}", ALLOWED) == "analytics"
    coming.replace(key_file_of(keys, "analytics"))
    new = _signed(keys, "analytics")
    assert new.split(".")[0] != old.split(".")[0]
    assert {trading.check(f"Bearer {token}", ALLOWED) for token in (old, new)} == {"analytics"}
    list_file_of(keys).unlink()
    for service in ("trading", "billing", "analytics", "notifications"):
        publish(keys, service, key_file_of(keys, service))
    assert trading.check(f"Bearer {new}", ALLOWED) == "analytics"
    with pytest.raises(Unauthorized):
        trading.check(f"Bearer {old}", ALLOWED)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"keys": [{}]}', '{"keys": [{"kid": "x", "service": "billing"}]}']
)
def test_an_invalid_list_keeps_the_previous_keys(keys: Path, trading: ServiceCallers, content: str) -> None:
    token = f"Bearer {_signed(keys, 'analytics')}"
    trading.check(token, ALLOWED)
    list_file_of(keys).write_text(content)
    assert trading.check(token, ALLOWED) == "analytics"


def test_without_a_list_every_caller_is_refused(keys: Path) -> None:
    for callers in (ServiceCallers("trading", None), ServiceCallers("trading", keys / "nowhere.json")):
        with pytest.raises(Unauthorized):
            callers.check(f"Bearer {_signed(keys, 'analytics')}", ALLOWED)


def test_only_the_owner_can_read_the_keys(keys: Path) -> None:
    assert {file.stat().st_mode & 0o077 for file in keys.iterdir()} == {0}
