"""`/v5/market/*`: the public REST endpoints."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from sandbox.bybit.messages import (
    Instrument,
    Json,
    envelope,
    instrument_info,
    newest_first,
    server_time,
    ticker,
)
from sandbox.bybit.replay import INTERVAL_MS, Market, Series

PARAMS_ERROR = 10001
MAX_LIMIT = 1_000
DEFAULT_KLINES = 200
DEFAULT_INSTRUMENTS = 500


class BadParams(Exception):
    """Returned as Bybit does: HTTP 200 with a retCode."""


Query = Mapping[str, str]


def add_rest(app: web.Application, market: Market, instruments: Mapping[str, Instrument]) -> None:
    """Add the REST endpoints, which serve the market's current state."""

    def kline(query: Query) -> Json:
        _check_category(query)
        symbol = _series(market, query).symbol
        if query.get("interval") not in (*INTERVAL_MS, "W", "M"):
            raise BadParams("Invalid period!")
        series = market.find(symbol, query["interval"])
        first, last = _integer(query, "start", 0), _integer(query, "end", 2**62)
        limit = _limit(query, DEFAULT_KLINES)
        # Bybit applies the limit from the start if that is given without an end, otherwise from the newest.
        newest = "start" not in query or "end" in query
        chosen = series.visible(first, last, limit, newest=newest) if series else []
        return {"symbol": symbol, "category": "linear", "list": newest_first(chosen)}

    def tickers(query: Query) -> Json:
        _check_category(query)
        chosen = [_series(market, query)] if "symbol" in query else list(market.series.values())
        return {"category": "linear", "list": [ticker(series) for series in chosen]}

    def instruments_info(query: Query) -> Json:
        _check_category(query)
        limit = _limit(query, DEFAULT_INSTRUMENTS)
        symbols = sorted(market.series)
        if "symbol" in query:
            symbols = [symbol for symbol in symbols if symbol == query["symbol"]]
        offset = _integer(query, "cursor", 0) if query.get("cursor") else 0
        page = symbols[offset : offset + limit]
        more = str(offset + limit) if offset + limit < len(symbols) else ""
        listed = [instrument_info(symbol, instruments.get(symbol, Instrument())) for symbol in page]
        return {"category": "linear", "list": listed, "nextPageCursor": more}

    handlers: dict[str, Callable[[Query], Json]] = {
        "time": lambda _: server_time(market.clock_ms),
        "kline": kline,
        "tickers": tickers,
        "instruments-info": instruments_info,
    }
    for name, respond in handlers.items():
        app.router.add_get(f"/v5/market/{name}", _json_handler(market, respond))


def _json_handler(
    market: Market, respond: Callable[[Query], Json]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(envelope(respond(request.query), market.clock_ms))
        except BadParams as error:
            return web.json_response(envelope({}, market.clock_ms, PARAMS_ERROR, str(error)))

    return handle


def _check_category(query: Query) -> None:
    if query.get("category", "linear") != "linear":
        raise BadParams("params error: category invalid")


def _series(market: Market, query: Query) -> Series:
    try:
        return market.series[query["symbol"]]
    except KeyError:
        raise BadParams("params error: symbol invalid") from None


def _integer(query: Query, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadParams(f"params error: {name} invalid")
    return int(text)


def _limit(query: Query, default: int) -> int:
    limit = _integer(query, "limit", default)
    if not 1 <= limit <= MAX_LIMIT:
        raise BadParams("params error: limit invalid")
    return limit
