"""Hashing runs off the event loop, is bounded, and takes the same work for unknown accounts."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher, extract_parameters

from services.auth.errors import TooManyLogins
from services.auth.operations.passwords import Passwords


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
