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
MOST = 1_000
DEFAULT_KLINES = 200
DEFAULT_INSTRUMENTS = 500


class BadParams(Exception):
    """Answered as Bybit does: HTTP 200 and a retCode."""


Query = Mapping[str, str]


def add_rest(app: web.Application, market: Market, instruments: Mapping[str, Instrument]) -> None:
    """Answers from the market as it stands."""

    def kline(query: Query) -> Json:
        _check_category(query)
        symbol = _series(market, query).symbol
        if query.get("interval") not in (*INTERVAL_MS, "W", "M"):
            raise BadParams("Invalid period!")
        series = market.find(symbol, query["interval"])
        first, last = _integer(query, "start", 0), _integer(query, "end", 2**62)
        limit = _limit(query, DEFAULT_KLINES)
        # Bybit counts from the start where one is given without an end, from the newest otherwise.
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
        begin = _integer(query, "cursor", 0) if query.get("cursor") else 0
        page = symbols[begin : begin + limit]
        more = str(begin + limit) if begin + limit < len(symbols) else ""
        listed = [instrument_info(symbol, instruments.get(symbol, Instrument())) for symbol in page]
        return {"category": "linear", "list": listed, "nextPageCursor": more}

    answers: dict[str, Callable[[Query], Json]] = {
        "time": lambda _: server_time(market.clock_ms),
        "kline": kline,
        "tickers": tickers,
        "instruments-info": instruments_info,
    }
    for name, answer in answers.items():
        app.router.add_get(f"/v5/market/{name}", _answering(market, answer))


def _answering(market: Market, answer: Callable[[Query], Json]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(envelope(answer(request.query), market.clock_ms))
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
    if not 1 <= limit <= MOST:
        raise BadParams("params error: limit invalid")
    return limit
