"""Access tokens contain the public id and an expiry, and no internal data."""

from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.auth.operations.signing_keys import SigningKeys
from services.auth.operations.tokens import AccessTokens, new_secret, secret_sha256
from shared.chassis.clock import utc_now
from shared.chassis.keys import verification_key
from shared.contracts.types import new_id


def _write_key(path: Path, *, elliptic: bool = False) -> Path:
    key = generate_private_key(SECP256R1()) if elliptic else Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def tokens(tmp_path: Path) -> AccessTokens:
    return AccessTokens(SigningKeys(_write_key(tmp_path / "key.pem")), issuer="us", audience="api", ttl_s=600)


def test_a_token_names_the_public_id_and_ends_in_ten_minutes(tokens: AccessTokens) -> None:
    public_id, session_id, now = new_id(), new_id(), utc_now()
    token = tokens.sign(public_id, session_id, "id", now)
    key = verification_key(tokens.keys.signing(now).public)
    claims = jwt.decode(token, key, algorithms=["EdDSA"], issuer="us", audience="api")
    assert (claims["sub"], claims["sid"], claims["exp"] - claims["iat"]) == (
        str(public_id),
        str(session_id),
        600,
    )


def test_a_token_has_a_fixed_type_and_names_its_key(tokens: AccessTokens) -> None:
    header = jwt.get_unverified_header(tokens.sign(new_id(), new_id(), "id", datetime(2026, 1, 1, tzinfo=UTC)))
    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": tokens.keys.signing(utc_now()).kid}


def test_the_published_key_contains_nothing_private(tokens: AccessTokens) -> None:
    [published] = tokens.keys.published(utc_now())
    assert set(published) == {"crv", "kty", "x", "use", "alg", "kid"}


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Ed25519 private key"):
        AccessTokens(
            SigningKeys(_write_key(tmp_path / "ec.pem", elliptic=True)), issuer="us", audience="api", ttl_s=600
        )


def test_a_secret_has_256_bits_and_is_stored_as_its_hash() -> None:
    assert len(new_secret()) == 43
    assert new_secret() != new_secret()
    assert len(secret_sha256(new_secret())) == 32
