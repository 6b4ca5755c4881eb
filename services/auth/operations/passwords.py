"""Argon2id, away from the event loop and never more than two at once: each takes 46 MiB and some 100 ms."""

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
    """Hashes and checks; refuses work rather than let its queue grow without end."""

    def __init__(self, waiting: int) -> None:
        self._argon2 = PasswordHasher(time_cost=1, memory_cost=MEMORY_KIB, parallelism=1)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")
        self._places = AT_ONCE + waiting
        # Checked when there is no such user, so that the answer takes as long as for one who exists.
        self._nobodys_hash = self._argon2.hash("nobody's password")

    async def hash(self, password: str) -> str:
        """Raises TooManyLogins."""
        with self._place():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._argon2.hash, password)

    async def check(self, password_hash: str | None, password: str) -> bool:
        """False for a wrong password, and after the same work for no hash at all. Raises TooManyLogins."""
        with self._place():
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(
                self._threads, self._verify, password_hash or self._nobodys_hash, password
            )
        return right and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(password_hash)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._places == 0:
            raise TooManyLogins
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
