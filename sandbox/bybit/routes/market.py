"""`/v5/market/*`: the public routes."""

from collections.abc import Mapping

from sandbox.bybit.account_messages import text
from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.gateway import Call, Endpoint, Handler, Routes
from sandbox.bybit.instruments import Instrument, instrument_info
from sandbox.bybit.messages import (
    Json,
    newest_first,
    orderbook,
    recent_trades,
    server_time,
    ticker,
)
from sandbox.bybit.paging import Query, integer, limit
from sandbox.bybit.replay import INTERVAL_MS, Market, Series
from sandbox.bybit.routes.categories import of_linear

PARAMS_ERROR = 10001
MAX_LIMIT = 1_000
DEFAULT_KLINES = 200
DEFAULT_INSTRUMENTS = 500
DEFAULT_DEPTH, MAX_DEPTH = 25, 500
DEFAULT_TRADES = 500


class MarketRoutes:
    """Serves the market's current state."""

    def __init__(self, market: Market, instruments: Mapping[str, Instrument], exchange: Exchange) -> None:
        self._market = market
        self._instruments = instruments
        self._exchange = exchange

    def routes(self) -> Routes:
        handlers: dict[str, Handler] = {
            "time": lambda _: server_time(self._market.clock_ms),
            "kline": self._kline,
            "tickers": of_linear(self._tickers, is_required=False),
            "instruments-info": of_linear(self.instruments_info, is_required=False),
            "orderbook": self._orderbook,
            "recent-trade": self._recent_trade,
            "price-limit": self._price_limit,
        }
        return {
            ("GET", f"/v5/market/{name}"): Endpoint(handler, is_private=False) for name, handler in handlers.items()
        }

    def instruments_info(self, call: Call) -> Json:
        query = call.query
        size = limit(query, DEFAULT_INSTRUMENTS, MAX_LIMIT)
        symbols = sorted(self._market.series)
        for name, given in (("symbol", query.get("symbol")), ("status", query.get("status"))):
            if given:
                symbols = [each for each in symbols if self._info(each)[name] == given]
        offset = integer(query, "cursor", 0)
        page = symbols[offset : offset + size]
        more = str(offset + size) if offset + size < len(symbols) else ""
        return {"category": "linear", "list": [self._info(symbol) for symbol in page], "nextPageCursor": more}

    def _info(self, symbol: str) -> Json:
        return instrument_info(symbol, self._instrument(symbol))

    def _instrument(self, symbol: str) -> Instrument:
        return self._instruments.get(symbol, Instrument())

    def _kline(self, call: Call) -> Json:
        query = call.query
        _check_category(query)
        symbol = self._series(query).symbol
        if query.get("interval") not in (*INTERVAL_MS, "W", "M"):
            raise Refusal(PARAMS_ERROR, "Invalid period!")
        series = self._market.find(symbol, query["interval"])
        first, last = integer(query, "start", 0), integer(query, "end", 2**62)
        size = limit(query, DEFAULT_KLINES, MAX_LIMIT)
        # Bybit applies the limit from the start if that is given without an end, otherwise from the newest.
        newest = "start" not in query or "end" in query
        chosen = series.visible(first, last, size, newest=newest) if series else []
        return {"symbol": symbol, "category": "linear", "list": newest_first(chosen)}

    def _tickers(self, call: Call) -> Json:
        chosen = [self._series(call.query)] if "symbol" in call.query else list(self._market.series.values())
        return {"category": "linear", "list": [ticker(series) for series in chosen]}

    def _orderbook(self, call: Call) -> Json:
        _check_category(call.query)
        series, depth = self._series(call.query), limit(call.query, DEFAULT_DEPTH, MAX_DEPTH)
        tick_size = self._instrument(series.symbol).tick_size
        return orderbook(series, tick_size, depth, self._market.clock_ms, self._market.steps_done)

    def _recent_trade(self, call: Call) -> Json:
        _check_category(call.query)
        size = limit(call.query, DEFAULT_TRADES, MAX_LIMIT)
        return {"category": "linear", "list": recent_trades(self._series(call.query), size)}

    def _price_limit(self, call: Call) -> Json:
        _check_category(call.query)
        symbol = self._series(call.query).symbol
        highest, lowest = self._exchange.price_limits(symbol)
        return {
            "symbol": symbol,
            "buyLmt": text(highest),
            "sellLmt": text(lowest),
            "ts": str(self._market.clock_ms),
        }

    def _series(self, query: Query) -> Series:
        """Raises Refusal."""
        try:
            return self._market.series[query["symbol"]]
        except KeyError:
            raise Refusal(PARAMS_ERROR, "params error: symbol invalid") from None


def _check_category(query: Query) -> None:
    if query.get("category", "linear") != "linear":
        raise Refusal(PARAMS_ERROR, "params error: category invalid")
