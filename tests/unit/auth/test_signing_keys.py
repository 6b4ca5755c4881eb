"""One key signs, the others only verify; a key takes over at the time in its file name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from services.auth.operations import signing_keys
from services.auth.operations.signing_keys import PUBLISH_LEAD, SigningKeys, activation_time
from services.auth.operations.tokens import AccessTokens
from shared.contracts.types import new_id
from stack.service_keys import new_private_key

NOW = datetime(2026, 1, 31, 9, 30, 30, tzinfo=UTC)
OLD, COMING = "20260101T0000Z.pem", "20260131T0935Z.pem"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(signing_keys, "RELOAD_EVERY_S", -1.0)  # reload at each use
    _put(tmp_path, OLD)
    return tmp_path


def _put(folder: Path, name: str) -> None:
    (folder / name).write_bytes(new_private_key())


def _kids(keys: SigningKeys, now: datetime) -> list[str]:
    return [key["kid"] for key in keys.published(now)]


async def test_a_key_is_published_before_it_signs_and_stays_until_it_is_removed(folder: Path) -> None:
    keys = SigningKeys(None, folder)
    old = keys.signing(NOW).kid
    _put(folder, COMING)
    coming = next(kid for kid in _kids(keys, NOW) if kid != old)
    assert (_kids(keys, NOW), keys.signing(NOW).kid) == ([old, coming], old)
    later = activation_time(COMING)
    assert (_kids(keys, later), keys.signing(later).kid) == ([old, coming], coming)
    (folder / OLD).unlink()
    assert (_kids(keys, later), keys.signing(later).kid) == ([coming], coming)
    assert (await keys.find(old), keys.version) == (None, 1)
    assert await keys.find(coming) is not None


def test_a_key_added_late_signs_only_after_the_publish_lead(folder: Path) -> None:
    keys = SigningKeys(None, folder)
    old = keys.signing(NOW).kid
    _put(folder, "20260131T0900Z.pem")
    assert keys.signing(NOW).kid == old
    assert keys.signing(NOW + PUBLISH_LEAD).kid != old


def test_tokens_are_signed_by_the_active_key(folder: Path) -> None:
    keys = SigningKeys(None, folder)
    tokens = AccessTokens(keys, issuer="us", audience="api", ttl_s=600)
    _put(folder, COMING)
    kids = []
    for now in (NOW, activation_time(COMING) + timedelta(seconds=1)):
        token = tokens.sign(new_id(), new_id(), "id", now)
        kids.append(jwt.get_unverified_header(token)["kid"])
    assert kids == _kids(keys, NOW)


def test_the_key_of_a_file_comes_before_those_of_the_folder(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "single"
    file.write_bytes(new_private_key())
    empty = tmp_path / "empty"
    empty.mkdir()
    assert SigningKeys(file, empty).signing(NOW).kid == SigningKeys(file).signing(NOW).kid
    assert SigningKeys(file, folder).signing(NOW).kid == SigningKeys(None, folder).signing(NOW).kid
    assert len(_kids(SigningKeys(file, folder), NOW)) == 2


@pytest.mark.parametrize("name", ["key.pem", "20261331T0000Z.pem", "2026-01-31.pem", "20260131T0935.pem"])
def test_an_invalid_key_is_refused_at_start_and_ignored_later(folder: Path, name: str) -> None:
    keys = SigningKeys(None, folder)
    before = _kids(keys, NOW)
    _put(folder, name)
    (folder / COMING).write_text("no key")
    assert _kids(keys, NOW) == before
    with pytest.raises(ValueError):
        SigningKeys(None, folder)


def test_without_a_key_auth_does_not_start_and_a_running_one_keeps_its_last(folder: Path, tmp_path: Path) -> None:
    keys = SigningKeys(None, folder)
    (folder / OLD).unlink()
    assert len(_kids(keys, NOW)) == 1
    with pytest.raises(ValueError, match="no signing key"):
        SigningKeys(None, folder)
