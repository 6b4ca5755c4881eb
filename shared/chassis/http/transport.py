"""The bytes of requests and responses: limits on their size, encoding and transfer time."""

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
from shared.chassis.http.downloads import DownloadAbortedError, FileStream
from shared.chassis.http.streaming import EventStream
from shared.chassis.settings import ServiceSettings

log = structlog.get_logger()

BODY_WITHIN_S = web.AppKey("body_within_s", float)
ANSWER_WITHIN_S = web.AppKey("answer_within_s", float)
MAX_HEADERS = 128
# A head as long as the gateway passes on (its `max_header_size` plus 4 kB that Go adds) is read completely before
# it is refused: if the connection were cut in the middle, the gateway would report a service that does not answer.
MAX_HEAD_BYTES = 20 * 2**10
# A header line longer than this is not read: aiohttp answers 400 in plain text and closes the connection.
MAX_LINE_BYTES = 64 * 2**10
SHORTEST_HEADER_BYTES = 4  # a:\r\n
HEADER_OVERHEAD_BYTES = 4  # the ": " and the \r\n of a header
CONNECTION_COPY = "X-Connection"  # a copy of Connection for the gateway, whose library hides the original
LINGERING_S = 2.0  # how long to keep reading and discarding from a client answered before it had sent everything


class _OneLineFilter(logging.Filter):
    """Log malformed HTTP as one warning: it is the client's fault, and aiohttp would write a traceback for each."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "not HTTP: %s", (type(error).__name__,)
            record.exc_info, record.levelno = None, logging.WARNING
        return True


_SERVER_LOGGER = logging.getLogger("aiohttp.server")
_SERVER_LOGGER.addFilter(_OneLineFilter())


def runner(app: web.Application, settings: ServiceSettings, shutdown_timeout_s: float) -> web.AppRunner:
    """Create the runner, without an access log; an idle connection without a complete request head is closed."""
    app[BODY_WITHIN_S], app[ANSWER_WITHIN_S] = settings.http_body_s, settings.http_answer_s
    return web.AppRunner(
        app,
        access_log=None,
        logger=_SERVER_LOGGER,
        shutdown_timeout=shutdown_timeout_s,
        keepalive_timeout=settings.http_idle_s,
        lingering_time=LINGERING_S,
        auto_decompress=False,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        max_headers=MAX_HEAD_BYTES // SHORTEST_HEADER_BYTES,
    )


def check_head(request: web.Request) -> None:
    """Refuse a head that is too large or not UTF-8. Raises TooManyHeaders, HeadTooLarge, InvalidInput."""
    if len(request.raw_headers) > MAX_HEADERS:
        raise TooManyHeaders
    headers_bytes = sum(len(name) + len(value) + HEADER_OVERHEAD_BYTES for name, value in request.raw_headers)
    if len(request.raw_path) + headers_bytes > MAX_HEAD_BYTES:
        raise HeadTooLarge
    if not _is_text(request.raw_path.encode("utf-8", "surrogateescape")):
        raise InvalidInput(errors=[{"path": "$", "reason": "the URL must be UTF-8"}])
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
        raise UnsupportedEncoding(f"the encoding {coding[:60]} is not supported: send the body unencoded")
    if (request.content_length or 0) > request.client_max_size:
        raise TooLarge
    within_s = request.app.get(BODY_WITHIN_S, 20.0)
    try:
        async with asyncio.timeout(within_s):
            return await request.read()
    except TimeoutError as error:
        raise RequestTimeout(f"the body did not arrive within {within_s:g} s") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge from error
    except web.RequestPayloadError as error:
        raise InvalidBody("the body does not match the framing in its headers") from error


async def send(request: web.Request, response: web.StreamResponse) -> None:
    """Send the whole response; reset the connection if the client does not read."""
    transport = request.transport
    if transport is None or not isinstance(response, web.Response | EventStream | FileStream):
        return
    if _leaves_bytes(request):
        response.force_close()
        response.headers[CONNECTION_COPY] = "close"
    transport.set_write_buffer_limits(high=0)  # so that "sent" means handed to the kernel
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
    except DownloadAbortedError as error:
        log.warning("answer_broken_off", path=request.path, error=str(error))
        _reset(transport)
    except ConnectionError:
        log.info("client_gone", path=request.path)


def _leaves_bytes(request: web.Request) -> bool:
    """Return whether unread bytes of this request may be left on the connection. They must not be parsed as the
    next request, which may be another client's: the gateway sends requests of many clients through one connection.
    The bytes after CONNECT or Upgrade are not framed, so their end is unknown.
    """
    return not request.content.at_eof() or request.method == "CONNECT" or "Upgrade" in request.headers


def _reset(transport: asyncio.Transport) -> None:
    """Close at once, without waiting (here or in the kernel) for the peer to read what is left."""
    if (connection := transport.get_extra_info("socket")) is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
