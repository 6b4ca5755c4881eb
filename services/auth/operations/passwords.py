"""Argon2id hashing, off the event loop and at most two at once: each takes 46 MiB and about 100 ms."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.auth.errors import TooManyLogins

MEMORY_KIB = 47_104
AT_ONCE = 2


class Passwords:
    """Hashes and checks passwords, with a bounded queue."""

    def __init__(self, waiting: int, memory_kib: int = MEMORY_KIB) -> None:
        self._argon2 = PasswordHasher(time_cost=1, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")
        self._free_places = AT_ONCE + waiting
        # Checked for unknown e-mails, so that the response takes as long as for an existing account.
        self._dummy_hash = self._argon2.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """Raises TooManyLogins."""
        with self._reserve_place():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._argon2.hash, password)

    async def check(self, password_hash: str | None, password: str) -> bool:
        """Return False for a wrong password and, after the same work, for no hash. Raises TooManyLogins."""
        with self._reserve_place():
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(
                self._threads, self._verify, password_hash or self._dummy_hash, password
            )
        return right and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether the hash was made with other parameters than the current ones."""
        return self._argon2.check_needs_rehash(password_hash)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _reserve_place(self) -> Iterator[None]:
        if self._free_places == 0:
            raise TooManyLogins
        self._free_places -= 1
        try:
            yield
        finally:
            self._free_places += 1

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
