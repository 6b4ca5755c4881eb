"""Files that are made as they are sent: of any length in a bounded memory, to a reader of any pace."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from aiohttp import web

from shared.chassis.http.streaming import Streams
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS

AT_ONCE_BYTES = 65_536  # within the time for one write a client need not take more
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)

log = structlog.get_logger()


class BrokenOffError(Exception):
    """What was sent is not the whole, and the client must see that it is not."""


@dataclass(frozen=True)
class Download:
    """What a handler of an endpoint with `media` answers. `first` is there before the answer begins, so that what
    goes wrong until then is a problem like any other; what goes wrong later breaks the connection off.
    """

    filename: str
    first: bytes
    rest: AsyncIterator[bytes]

    def __post_init__(self) -> None:
        assert _NAME.fullmatch(self.filename), "a name that no header or file system takes for another"


class FileStream(web.StreamResponse):
    """The answer to one client, written by `write_all` as its parts are made."""

    def __init__(self, download: Download, media: str, streams: Streams, user_id: int) -> None:
        super().__init__(
            headers={
                "Content-Type": f"{media}; charset=utf-8" if media.startswith("text/") else media,
                "Content-Disposition": f'attachment; filename="{download.filename}"',
                "X-Content-Type-Options": "nosniff",
                "X-Accel-Buffering": "no",
            }
        )
        streams.check(user_id)
        self._download = download
        self._streams = streams
        self._user_id = user_id

    async def write_all(self, request: web.Request, write_within_s: float) -> None:
        """Raises TimeoutError where the client does not read, ConnectionError where it has gone, BrokenOffError
        where the rest cannot be had.
        """
        with self._streams.one_more(self._user_id):
            try:
                await self.prepare(request)
                await self._write(self._download.first, write_within_s)
                async for part in _until_broken(self._download.rest):
                    await self._write(part, write_within_s)
                async with asyncio.timeout(write_within_s):
                    await self.write_eof()
            finally:
                with contextlib.suppress(AttributeError):
                    await self._download.rest.aclose()  # type: ignore[attr-defined]  # a generator, wherever it is one

    async def _write(self, part: bytes, write_within_s: float) -> None:
        for begin in range(0, len(part), AT_ONCE_BYTES):
            async with asyncio.timeout(write_within_s):
                await self.write(part[begin : begin + AT_ONCE_BYTES])


async def _until_broken(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            part = await anext(parts, None)
        except INFRASTRUCTURE_FAULTS as error:
            raise BrokenOffError(repr(error)) from error
        if part is None:
            return
        yield part
