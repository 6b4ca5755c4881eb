"""`tradefleet keys`: rotation, its interruption, and the removal of keys."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import Result

from cli.keys import keys, locked
from services.trading.custody.envelope import SealedSecret, SecretRow, seal, unseal
from services.trading.custody.key_ring import FileKeyRing, Ring, WrappedKey, new_ring, parse_ring
from services.trading.errors import SecretUnreadable
from services.trading.exchange.account_facts import Credentials
from shared.chassis.clock import utc_now
from stack.migrate import ROOT
from stack.private_files import write_private
from tests.integration.commands.conftest import parse_json, run_command
from tests.integration.trading.conftest import Trading
from tests.pace import patient

ACCOUNTS = """
    INSERT INTO exchange_accounts (
        user_id, exchange_account_id, public_id, account_name, environment, region, product, exchange_uid,
        key_hash, masked_api_key, permissions, addresses, is_third_party, margin_mode, kyc_region, checked_at)
    SELECT u, a, a, 'bots', 'SANDBOX', 'GLOBAL', 'LINEAR', u::text, sha256(u::text::bytea), '', '[]', '[]', false,
           '', '', now()
    FROM unnest($1::bigint[], $2::uuid[]) AS row (u, a)
"""
CHECKS = """
    INSERT INTO exchange_account_checks
    SELECT u, a, 'SANDBOX', now() FROM unnest($1::bigint[], $2::uuid[]) AS row (u, a)
"""
SECRETS = """
    INSERT INTO exchange_secrets (user_id, exchange_account_id, version, key_id, wrapped_key, ciphertext)
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::integer[], $4::text[], $5::bytea[], $6::bytea[])
"""


@dataclass
class Vault:
    """A ring in a file, and accounts whose keys it encrypts."""

    trading: Trading
    file: Path

    @property
    def ring(self) -> Ring:
        return parse_ring(self.file.read_bytes())

    @property
    def env(self) -> dict[str, str]:
        settings = self.trading.settings
        return {
            "EXCHANGE_KEYS_FILE": str(self.file),
            "POSTGRES_WORKER_DSN": settings.postgres_worker_dsn.get_secret_value(),
            "POSTGRES_QUEUE_DSN": settings.postgres_queue_dsn.get_secret_value(),
        }

    async def fill(self, count: int) -> None:
        ring = FileKeyRing(self.file)
        rows = [SecretRow(number, UUID(int=number), 1) for number in range(1, count + 1)]
        sealed = [await seal(ring, row, credentials_of(row)) for row in rows]
        users, ids = [row.user_id for row in rows], [row.exchange_account_id for row in rows]
        await self.trading.owner.execute(ACCOUNTS, users, ids)
        await self.trading.owner.execute(CHECKS, users, ids)
        await self.trading.owner.execute(
            SECRETS,
            users,
            ids,
            [1] * count,
            [each.data_key.key_id for each in sealed],
            [each.data_key.wrapped for each in sealed],
            [each.ciphertext for each in sealed],
        )

    async def counts(self) -> Mapping[str, int]:
        rows = await self.trading.fetch("SELECT key_id, count(*) AS n FROM exchange_secrets GROUP BY key_id")
        return {row["key_id"]: row["n"] for row in rows}

    async def opened(self) -> int:
        """Decrypt every key, and return how many there are."""
        ring = FileKeyRing(self.file)
        stored = await self.trading.fetch("SELECT * FROM exchange_secrets")
        for each in stored:
            row = SecretRow(each["user_id"], each["exchange_account_id"], each["version"])
            secret = SealedSecret(WrappedKey(each["key_id"], each["wrapped_key"]), each["ciphertext"])
            assert await unseal(ring, row, secret) == credentials_of(row)
        return len(stored)

    def run(self, *words: str) -> Result:
        return run_command(keys, *words, env=self.env)


def credentials_of(row: SecretRow) -> Credentials:
    return Credentials(f"key of {row.user_id}", f"secret of {row.user_id}")


@pytest.fixture
def vault(trading: Trading, tmp_path: Path) -> Vault:
    file = tmp_path / "ring.json"
    write_private(file, new_ring(utc_now() - timedelta(hours=1)).to_json())
    return Vault(trading, file)


async def in_thread(vault: Vault, *words: str) -> Result:
    """Run a command, which has an event loop of its own."""
    return await asyncio.to_thread(vault.run, *words)


async def test_a_rotation_wraps_every_key_again_and_all_stay_readable(vault: Vault) -> None:
    await vault.fill(450)
    first = vault.ring.current
    done = parse_json(await in_thread(vault, "rotate", "--json"))
    assert done == {
        "key_id": vault.ring.current,
        "is_new": True,
        "accounts": 450,
        "rewrapped": 450,
        "unreadable": [],
    }
    assert vault.ring.current != first
    assert set(vault.ring.keys) == {first, vault.ring.current}
    assert await vault.counts() == {vault.ring.current: 450}
    assert await vault.opened() == 450
    assert vault.file.stat().st_mode & 0o077 == 0


async def test_a_killed_rotation_is_finished_without_another_key(vault: Vault) -> None:
    """SIGKILL while rows are wrapped again; both keys are readable at any time."""
    await vault.fill(6_000)
    first = vault.ring.current
    command = [sys.executable, "-m", "cli", "keys", "rotate"]
    process = subprocess.Popen(command, env={**os.environ, **vault.env, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
    deadline = time.monotonic() + patient(60)
    while len(await vault.counts()) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = (await vault.counts()).get(first, 0)
    assert left > 0, "it had ended: there was nothing to interrupt"
    assert await vault.opened() == 6_000
    second = vault.ring.current
    done = parse_json(await in_thread(vault, "rotate", "--json"))
    assert (done["key_id"], done["is_new"], done["rewrapped"]) == (second, False, left)
    assert await vault.counts() == {second: 6_000}
    assert await vault.opened() == 6_000


async def test_a_key_that_was_made_and_not_used_yet_is_used_by_the_next_rotation(vault: Vault) -> None:
    """The process was killed right after the ring was written."""
    await vault.fill(3)
    made = vault.ring.with_new_key(utc_now())
    write_private(vault.file, made.to_json())
    done = parse_json(await in_thread(vault, "rotate", "--json"))
    assert (done["key_id"], done["is_new"]) == (made.current, False)


async def test_a_row_copied_from_another_is_named_and_stops_no_other(vault: Vault) -> None:
    await vault.fill(3)
    await vault.trading.owner.execute(
        "UPDATE exchange_secrets SET wrapped_key = (SELECT wrapped_key FROM exchange_secrets WHERE user_id = 1), "
        "ciphertext = (SELECT ciphertext FROM exchange_secrets WHERE user_id = 1) WHERE user_id = 2"
    )
    result = await in_thread(vault, "rotate", "--json")
    assert (result.exit_code, parse_json(result)["unreadable"]) == (1, [str(UUID(int=2))])
    assert parse_json(result)["rewrapped"] == 2
    with pytest.raises(SecretUnreadable):
        await vault.opened()
    again = parse_json(await in_thread(vault, "rotate", "--json"))
    assert again["is_new"], "a row that cannot be decrypted does not prevent the next rotation"


async def test_a_key_is_removed_once_nothing_needs_it(vault: Vault) -> None:
    await vault.fill(2)
    first = vault.ring.current
    assert "current key" in (await in_thread(vault, "remove", first)).stderr
    await in_thread(vault, "rotate")
    assert "less than ten minutes old" in (await in_thread(vault, "remove", first)).stderr
    assert "no key" in (await in_thread(vault, "remove", "another")).stderr


async def test_a_key_in_use_is_not_removed(vault: Vault) -> None:
    await vault.fill(2)
    first = vault.ring
    second = first.with_new_key(utc_now() - timedelta(minutes=30))
    write_private(vault.file, second.to_json())
    assert "encrypts 2 exchange keys" in (await in_thread(vault, "remove", first.current)).stderr
    shown = parse_json(await in_thread(vault, "status", "--json"))["keys"]
    assert {each["key_id"]: each["rows"] for each in shown} == {first.current: 2, second.current: 0}
    await in_thread(vault, "rotate")
    assert (await in_thread(vault, "remove", first.current)).exit_code == 0
    assert set(vault.ring.keys) == {second.current}
    assert await vault.opened() == 2


async def test_status_names_a_key_that_the_ring_has_lost(vault: Vault) -> None:
    await vault.fill(1)
    lost = vault.ring.current
    write_private(vault.file, new_ring(utc_now()).to_json())
    result = await in_thread(vault, "status", "--json")
    assert result.exit_code == 1
    assert {each["key_id"]: each["missing"] for each in parse_json(result)["keys"]}[lost]
    assert "does not have the key" in (await in_thread(vault, "rotate")).stderr


async def test_two_rotations_at_once_do_not_lose_a_key(vault: Vault) -> None:
    await vault.fill(1)
    with locked(vault.file):
        assert "another command" in (await in_thread(vault, "rotate")).stderr


async def test_what_is_stored_during_a_rotation_is_readable_by_running_services(vault: Vault) -> None:
    """A service that read the ring before the rotation uses the new key from the next request on."""
    await vault.fill(1)
    service = FileKeyRing(vault.file)
    assert await service.current_key_id() == vault.ring.current
    await in_thread(vault, "rotate")
    assert await service.current_key_id() == vault.ring.current
    assert json.loads(vault.file.read_text())["current"] == vault.ring.current
