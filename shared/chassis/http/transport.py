"""Bytes in and out of a request: how large, how coded, and how long a client may take over them."""

import asyncio
import logging
import socket
import struct

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from shared.chassis.errors import (
    HeadTooLarge,
    InvalidBody,
    InvalidInput,
    RequestTimeout,
    TooLarge,
    TooManyHeaders,
    UnsupportedEncoding,
)
from shared.chassis.http.downloads import BrokenOffError, FileStream
from shared.chassis.http.streaming import EventStream
from shared.chassis.settings import ServiceSettings

log = structlog.get_logger()

BODY_WITHIN_S = web.AppKey("body_within_s", float)
ANSWER_WITHIN_S = web.AppKey("answer_within_s", float)
MOST_HEADERS = 128
# A head as long as the gateway lets through (its `max_header_size`, and 4 kB that Go adds) is read to its end
# before it is refused: of a connection cut in the middle of it, the gateway says that the service does not answer.
MOST_HEAD_BYTES = 20 * 2**10
# A line of a head that is longer than this is no longer read: aiohttp answers 400 in plain text and closes.
MOST_LINE_BYTES = 64 * 2**10
SHORTEST_HEADER_BYTES = 4  # a:\r\n
UNREAD = "X-Connection"  # what Connection says, for the gateway: its library keeps that from it
LINGERING_S = 2.0  # so long is read on, and thrown away, from a client that was answered before it had sent all


class _OneLine(logging.Filter):
    """What is no HTTP is the client's fault: aiohttp would write a traceback for each."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "not HTTP: %s", (type(error).__name__,)
            record.exc_info, record.levelno = None, logging.WARNING
        return True


_SERVER_LOGGER = logging.getLogger("aiohttp.server")
_SERVER_LOGGER.addFilter(_OneLine())


def runner(app: web.Application, settings: ServiceSettings, shutdown_timeout_s: float) -> web.AppRunner:
    """Without an access log; whoever keeps a connection waiting for a whole request head loses it."""
    app[BODY_WITHIN_S], app[ANSWER_WITHIN_S] = settings.http_body_s, settings.http_answer_s
    return web.AppRunner(
        app,
        access_log=None,
        logger=_SERVER_LOGGER,
        shutdown_timeout=shutdown_timeout_s,
        keepalive_timeout=settings.http_idle_s,
        lingering_time=LINGERING_S,
        auto_decompress=False,
        max_line_size=MOST_LINE_BYTES,
        max_field_size=MOST_LINE_BYTES,
        max_headers=MOST_HEAD_BYTES // SHORTEST_HEADER_BYTES,
    )


def check_head(request: web.Request) -> None:
    """Refuse a head that could not be worked with or stored. Raises TooManyHeaders, HeadTooLarge,
    InvalidInput."""
    if len(request.raw_headers) > MOST_HEADERS:
        raise TooManyHeaders
    headers_bytes = sum(len(name) + len(value) + SHORTEST_HEADER_BYTES for name, value in request.raw_headers)
    if len(request.raw_path) + headers_bytes > MOST_HEAD_BYTES:
        raise HeadTooLarge
    if not _is_text(request.raw_path.encode("utf-8", "surrogateescape")):
        raise InvalidInput(errors=[{"path": "$", "reason": "the address must be UTF-8"}])
    for name, value in request.raw_headers:
        if not _is_text(value):
            header = name.decode("ascii", "replace")
            raise InvalidInput(errors=[{"path": header, "reason": "must be UTF-8"}])


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


async def read_body(request: web.Request) -> bytes:
    """Raises UnsupportedEncoding, TooLarge, RequestTimeout, InvalidBody."""
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.strip().lower() != "identity":
        raise UnsupportedEncoding(f"bodies are taken as they are, not as {coding[:60]}")
    if (request.content_length or 0) > request.client_max_size:
        raise TooLarge
    within_s = request.app.get(BODY_WITHIN_S, 20.0)
    try:
        async with asyncio.timeout(within_s):
            return await request.read()
    except TimeoutError as error:
        raise RequestTimeout(f"the body was not here within {within_s:g} s") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge from error
    except web.RequestPayloadError as error:
        raise InvalidBody("the body is not framed as its headers say") from error


async def send(request: web.Request, response: web.StreamResponse) -> None:
    """Send all of an answer; a connection whose client does not read is given up."""
    transport = request.transport
    if transport is None or not isinstance(response, web.Response | EventStream | FileStream):
        return
    if _leaves_bytes(request):
        response.force_close()
        response.headers[UNREAD] = "close"
    transport.set_write_buffer_limits(high=0)  # so that sent means handed to the kernel
    within_s = request.app.get(ANSWER_WITHIN_S, 30.0)
    try:
        if isinstance(response, EventStream | FileStream):
            await response.write_all(request, within_s)
            return
        async with asyncio.timeout(within_s):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        log.warning("answer_not_read", path=request.path, bytes=response.content_length)
        _reset(transport)
    except BrokenOffError as error:
        log.warning("answer_broken_off", path=request.path, error=str(error))
        _reset(transport)
    except ConnectionError:
        log.info("client_gone", path=request.path)


def _leaves_bytes(request: web.Request) -> bool:
    """Whether the connection may hold bytes of this request that nobody read. They must not be taken for the next
    one, which may be another client's: the gateway sends those of many through one connection. The bytes after
    CONNECT or Upgrade have no frame, so where they end is not known.
    """
    return not request.content.at_eof() or request.method == "CONNECT" or "Upgrade" in request.headers


def _reset(transport: asyncio.Transport) -> None:
    """Close without waiting, here or in the kernel, for anybody to read what is left."""
    if (connection := transport.get_extra_info("socket")) is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
