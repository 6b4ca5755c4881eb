"""A secret opens in its own row only, and whatever was changed fails closed."""

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from services.trading.custody.envelope import SealedSecret, SecretRow, seal, unseal, wrap_again
from services.trading.custody.key_ring import (
    NONCE_BYTES,
    FileKeyRing,
    Ring,
    WrappedKey,
    new_ring,
    parse_ring,
)
from services.trading.errors import KeyUnavailable, SecretUnreadable
from services.trading.exchange.account_facts import Credentials
from shared.chassis.clock import utc_now

ROW = SecretRow(1, UUID(int=7), 1)
CREDENTIALS = Credentials("the api key of ann", "the api secret of ann")


def ring_of(ring: Ring) -> FileKeyRing:
    return FileKeyRing(None, ring.to_json().decode())


@pytest.fixture
def ring() -> FileKeyRing:
    return ring_of(new_ring(utc_now()))


async def test_what_was_sealed_is_unsealed(ring: FileKeyRing) -> None:
    assert await unseal(ring, ROW, await seal(ring, ROW, CREDENTIALS)) == CREDENTIALS


async def test_two_seals_share_nothing(ring: FileKeyRing) -> None:
    one, other = await seal(ring, ROW, CREDENTIALS), await seal(ring, ROW, CREDENTIALS)
    assert one.ciphertext != other.ciphertext
    assert one.data_key.wrapped != other.data_key.wrapped
    assert b"ann" not in one.ciphertext + one.data_key.wrapped


@pytest.mark.parametrize(
    "other",
    [replace(ROW, user_id=2), replace(ROW, exchange_account_id=UUID(int=8)), replace(ROW, version=2)],
    ids=["tenant", "account", "version"],
)
async def test_a_secret_copied_to_another_row_does_not_open(ring: FileKeyRing, other: SecretRow) -> None:
    sealed = await seal(ring, ROW, CREDENTIALS)
    with pytest.raises(SecretUnreadable):
        await unseal(ring, other, sealed)
    with pytest.raises(SecretUnreadable):
        await wrap_again(ring, other, sealed.data_key)


async def test_parts_of_two_secrets_do_not_open_together(ring: FileKeyRing) -> None:
    """Not even of the same row, which proves that the data key belongs to its ciphertext."""
    one, other = await seal(ring, ROW, CREDENTIALS), await seal(ring, ROW, CREDENTIALS)
    with pytest.raises(SecretUnreadable):
        await unseal(ring, ROW, replace(one, ciphertext=other.ciphertext))
    with pytest.raises(SecretUnreadable):
        await unseal(ring, ROW, replace(one, data_key=other.data_key))


async def test_every_changed_byte_is_noticed(ring: FileKeyRing) -> None:
    """Of the nonces, the ciphertexts and the tags."""
    sealed = await seal(ring, ROW, CREDENTIALS)

    def flipped(value: bytes, index: int) -> bytes:
        return value[:index] + bytes([value[index] ^ 1]) + value[index + 1 :]

    forged = [replace(sealed, ciphertext=flipped(sealed.ciphertext, n)) for n in range(len(sealed.ciphertext))]
    wrapped = sealed.data_key.wrapped
    forged += [replace(sealed, data_key=replace(sealed.data_key, wrapped=flipped(wrapped, n))) for n in range(60)]
    assert len(wrapped) == 60
    for each in forged:
        with pytest.raises(SecretUnreadable):
            await unseal(ring, ROW, each)


@pytest.mark.parametrize("length", [0, 1, NONCE_BYTES, NONCE_BYTES + 1, NONCE_BYTES + 16])
async def test_a_shortened_value_does_not_open(ring: FileKeyRing, length: int) -> None:
    sealed = await seal(ring, ROW, CREDENTIALS)
    for forged in (
        replace(sealed, ciphertext=sealed.ciphertext[:length]),
        replace(sealed, data_key=WrappedKey(sealed.data_key.key_id, sealed.data_key.wrapped[:length])),
    ):
        with pytest.raises(SecretUnreadable):
            await unseal(ring, ROW, forged)


async def test_a_key_of_the_ring_opens_only_what_names_it() -> None:
    first = new_ring(utc_now())
    second = first.with_new_key(utc_now())
    sealed = await seal(ring_of(first), ROW, CREDENTIALS)
    forged = replace(sealed, data_key=replace(sealed.data_key, key_id=second.current))
    with pytest.raises(SecretUnreadable):
        await unseal(ring_of(second), ROW, forged)


async def test_an_old_key_stays_readable_until_it_is_removed() -> None:
    first = new_ring(utc_now())
    second = first.with_new_key(utc_now())
    sealed = await seal(ring_of(first), ROW, CREDENTIALS)
    assert await unseal(ring_of(second), ROW, sealed) == CREDENTIALS
    rewrapped = SealedSecret(await wrap_again(ring_of(second), ROW, sealed.data_key), sealed.ciphertext)
    without = ring_of(second.without(first.current))
    assert await unseal(without, ROW, rewrapped) == CREDENTIALS
    with pytest.raises(KeyUnavailable):
        await unseal(without, ROW, sealed)


async def test_the_hash_of_a_key_outlives_rotation_and_needs_the_ring() -> None:
    first = new_ring(utc_now())
    assert await ring_of(first).hash("key") == await ring_of(first.with_new_key(utc_now())).hash("key")
    assert await ring_of(first).hash("key") != await ring_of(new_ring(utc_now())).hash("key")
    assert await ring_of(first).hash("key") != await ring_of(first).hash("kez")


async def test_a_changed_file_is_read_again_and_a_missing_one_fails_closed(tmp_path: Path) -> None:
    file = tmp_path / "ring.json"
    first = new_ring(utc_now())
    file.write_bytes(first.to_json())
    ring = FileKeyRing(file)
    assert await ring.current_key_id() == first.current
    second = first.with_new_key(utc_now())
    (tmp_path / "new").write_bytes(second.to_json())
    (tmp_path / "new").replace(file)
    assert await ring.current_key_id() == second.current
    file.unlink()
    for use in (ring.wrap(bytes(32), b""), ring.hash("key"), ring.current_key_id()):
        with pytest.raises(KeyUnavailable):
            await use


async def test_a_platform_without_a_ring_says_so() -> None:
    with pytest.raises(KeyUnavailable, match="EXCHANGE_KEYS_FILE"):
        await FileKeyRing(None).current_key_id()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"current": "a", "keys": [], "hash_key": ""}',
        '{"current": "a", "keys": {"a": "AAAA"}, "hash_key": "AAAA"}',
        '{"current": "a", "keys": {"a": 5}, "hash_key": "AAAA"}',
    ],
)
def test_a_malformed_ring_is_refused_without_its_content(content: str) -> None:
    with pytest.raises(KeyUnavailable) as refused:
        parse_ring(content)
    assert str(refused.value) == "the key ring is malformed"


def test_a_ring_whose_current_key_is_missing_is_malformed() -> None:
    raw = json.loads(new_ring(utc_now()).to_json())
    with pytest.raises(KeyUnavailable):
        parse_ring(json.dumps({**raw, "current": "another"}))


async def test_no_representation_shows_a_secret(ring: FileKeyRing) -> None:
    content = new_ring(utc_now())
    sealed = await seal(ring, ROW, CREDENTIALS)
    shown = [repr(each) + str(each) for each in (CREDENTIALS, sealed, sealed.data_key, ROW, content, ring)]
    assert not [text for text in shown if "ann" in text]
    assert not [text for text in shown if repr(next(iter(content.keys.values()))) in text]
    assert not [text for text in shown if "ciphertext" in text or "wrapped=" in text]
