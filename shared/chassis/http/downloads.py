"""File downloads generated while they are sent: any length in bounded memory, for fast and slow clients."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from aiohttp import web

from shared.chassis.http.streaming import Streams
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS

WRITE_BYTES = 65_536  # the most that a client has to read within the timeout of one write
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)

log = structlog.get_logger()


class DownloadAbortedError(Exception):
    """The download cannot be completed; the connection is reset so that the client sees it is truncated."""


@dataclass(frozen=True)
class Download:
    """The result of a handler of an endpoint with `media`. `first` is ready before the response starts, so an error
    until then is answered as a problem; a later error aborts the connection.
    """

    filename: str
    first: bytes
    rest: AsyncIterator[bytes]

    def __post_init__(self) -> None:
        assert _NAME.fullmatch(self.filename), "the filename is not safe in a header and on every file system"


class FileStream(web.StreamResponse):
    """The response to one client; `write_all` writes the parts as they are generated."""

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
        """Raises TimeoutError if the client does not read, ConnectionError if it has disconnected and
        DownloadAbortedError if the rest cannot be generated.
        """
        with self._streams.slot(self._user_id):
            try:
                await self.prepare(request)
                await self._write(self._download.first, write_within_s)
                async for part in _parts_or_abort(self._download.rest):
                    await self._write(part, write_within_s)
                async with asyncio.timeout(write_within_s):
                    await self.write_eof()
            finally:
                with contextlib.suppress(AttributeError):
                    await self._download.rest.aclose()  # type: ignore[attr-defined]  # a generator, wherever it is one

    async def _write(self, part: bytes, write_within_s: float) -> None:
        for begin in range(0, len(part), WRITE_BYTES):
            async with asyncio.timeout(write_within_s):
                await self.write(part[begin : begin + WRITE_BYTES])


async def _parts_or_abort(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            part = await anext(parts, None)
        except INFRASTRUCTURE_FAULTS as error:
            raise DownloadAbortedError(repr(error)) from error
        if part is None:
            return
        yield part
