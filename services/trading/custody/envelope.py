"""Envelope encryption of a key pair: a data key for each row, wrapped by the ring, both bound to the row."""

import json
import secrets
from dataclasses import dataclass, field
from uuid import UUID

from services.trading.custody.key_ring import KEY_BYTES, KeyRing, WrappedKey, decrypt, encrypt
from services.trading.errors import SecretUnreadable
from services.trading.exchange.account_facts import Credentials


@dataclass(frozen=True, slots=True)
class SecretRow:
    """The row that a secret belongs to. It cannot be decrypted as any other."""

    user_id: int
    exchange_account_id: UUID
    version: int

    @property
    def context(self) -> bytes:
        """The additional authenticated data."""
        return f"tradefleet.exchange_secret.1/{self.user_id}/{self.exchange_account_id}/{self.version}".encode()


@dataclass(frozen=True, slots=True)
class SealedSecret:
    data_key: WrappedKey
    ciphertext: bytes = field(repr=False)


async def seal(ring: KeyRing, row: SecretRow, credentials: Credentials) -> SealedSecret:
    """Encrypt a key pair for its row. Raises KeyUnavailable."""
    data_key = secrets.token_bytes(KEY_BYTES)
    plaintext = json.dumps([credentials.api_key, credentials.api_secret]).encode()
    ciphertext = encrypt(data_key, plaintext, row.context)
    return SealedSecret(await ring.wrap(data_key, row.context), ciphertext)


async def unseal(ring: KeyRing, row: SecretRow, sealed: SealedSecret) -> Credentials:
    """Raises KeyUnavailable, SecretUnreadable."""
    data_key = await ring.unwrap(sealed.data_key, row.context)
    if len(data_key) != KEY_BYTES:
        raise SecretUnreadable("its data key is none")
    api_key, api_secret = json.loads(decrypt(data_key, sealed.ciphertext, row.context))
    return Credentials(api_key, api_secret)


async def wrap_again(ring: KeyRing, row: SecretRow, wrapped: WrappedKey) -> WrappedKey:
    """Wrap a data key with the current key. Raises KeyUnavailable, SecretUnreadable."""
    return await ring.wrap(await ring.unwrap(wrapped, row.context), row.context)
