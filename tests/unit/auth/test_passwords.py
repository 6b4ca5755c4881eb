"""Hashing runs off the event loop, is bounded, and takes the same work for unknown accounts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters
from pydantic import SecretStr, ValidationError

from services.auth.errors import TooManyLogins
from services.auth.operations.passwords import MEMORY_KIB, Passwords
from services.auth.settings import AuthSettings


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords(waiting=1)
    yield made
    await made.close()


async def test_a_hash_has_the_parameters_of_the_design(passwords: Passwords) -> None:
    parameters = extract_parameters(await passwords.hash("correct horse"))
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (47104, 1, 1)
    assert parameters.type.name == "ID"


async def test_the_right_password_passes_and_a_wrong_one_does_not(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert await passwords.check(stored, "correct horse")
    assert not await passwords.check(stored, "wrong horse")


async def test_no_password_passes_without_a_valid_hash(passwords: Passwords) -> None:
    assert not await passwords.check(None, "nobody's password")
    assert not await passwords.check("no hash at all", "x")


async def test_a_weaker_hash_is_outdated(passwords: Passwords) -> None:
    assert passwords.is_outdated(PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("x"))
    assert not passwords.is_outdated(await passwords.hash("x"))


async def test_a_hash_is_refused_at_once_when_the_queue_is_full(passwords: Passwords) -> None:
    outcomes = await asyncio.gather(*(passwords.hash(f"{n}") for n in range(6)), return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 3  # two running, one waiting
    assert sum(isinstance(outcome, TooManyLogins) for outcome in outcomes) == 3
    assert await passwords.hash("the queue is free again")


def test_hashes_of_tests_are_refused_in_production(tmp_path: Path) -> None:
    (key := tmp_path / "signing.pem").touch()
    servers: dict[str, object] = {f"postgres_{role}_dsn": SecretStr("") for role in ("app", "worker", "queue")}
    servers["kafka_bootstrap"] = "localhost:9092"

    def settings(environment: str, memory_kib: int) -> AuthSettings:
        values = {"auth_signing_key_file": key, "environment": environment, "auth_password_memory_kib": memory_kib}
        return AuthSettings.model_validate({**servers, **values})

    assert settings("development", 1024).auth_password_memory_kib == 1024
    assert settings("production", MEMORY_KIB).auth_password_memory_kib == MEMORY_KIB
    with pytest.raises(ValidationError, match="AUTH_PASSWORD_MEMORY_KIB"):
        settings("production", 1024)
