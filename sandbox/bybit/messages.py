"""Bybit's V5 messages, with the structure of the examples in its documentation."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import uuid4

from sandbox.bybit.replay import Candle, Push, Series

Json = dict[str, object]
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# The fields of a ticker message on the stream.
TICKER_FIELDS = (
    "symbol",
    "price24hPcnt",
    "lastPrice",
    "prevPrice24h",
    "highPrice24h",
    "lowPrice24h",
    "prevPrice1h",
    "markPrice",
    "indexPrice",
    "openInterest",
    "openInterestValue",
    "turnover24h",
    "volume24h",
    "fundingIntervalHour",
    "fundingCap",
    "nextFundingTime",
    "fundingRate",
    "bid1Price",
    "bid1Size",
    "ask1Price",
    "ask1Size",
    "preOpenPrice",
    "preQty",
    "curPreListingPhase",
)


def envelope(result: Mapping[str, object], now_ms: int, code: int = 0, message: str = "OK") -> Json:
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}


def server_time(now_ms: int) -> Json:
    return {"timeSecond": str(now_ms // 1000), "timeNano": f"{now_ms}000000"}


def kline_row(candle: Candle) -> list[str]:
    return [
        str(candle.start),
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.turnover,
    ]


def kline_push(push: Push, interval_ms: int, now_ms: int) -> Json:
    candle = push.candle
    return {
        "topic": f"kline.{push.interval}.{push.symbol}",
        "data": [
            {
                "start": candle.start,
                "end": candle.start + interval_ms - 1,
                "interval": push.interval,
                "open": candle.open,
                "close": candle.close,
                "high": candle.high,
                "low": candle.low,
                "volume": candle.volume,
                "turnover": candle.turnover,
                "confirm": push.confirm,
                "timestamp": now_ms,
            }
        ],
        "ts": now_ms,
        "type": "snapshot",
    }


def ticker(series: Series) -> Json:
    """Return a linear ticker. Bid and ask are the last price; fields that a replay cannot know are empty."""
    price = series.last_price()
    day = max(1, DAY_MS // series.interval_ms)
    window = [*series.candles[max(0, series.closed - day) : series.closed]] or [series.candles[0]]
    first = series.price_before(DAY_MS)
    change = (Decimal(price) / Decimal(first) - 1).quantize(Decimal("0.000001"))
    volume = sum((Decimal(candle.volume) for candle in window), Decimal(0))
    turnover = sum((Decimal(candle.turnover) for candle in window), Decimal(0))
    return {
        "symbol": series.symbol,
        "lastPrice": price,
        "indexPrice": price,
        "markPrice": price,
        "prevPrice24h": first,
        "price24hPcnt": format(change, "f"),
        "highPrice24h": max((candle.high for candle in window), key=Decimal),
        "lowPrice24h": min((candle.low for candle in window), key=Decimal),
        "prevPrice1h": series.price_before(HOUR_MS),
        "openInterest": "0",
        "openInterestValue": "0",
        "turnover24h": format(turnover, "f"),
        "volume24h": format(volume, "f"),
        "fundingRate": "0.0001",
        "nextFundingTime": "0",
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "ask1Size": "1",
        "bid1Price": price,
        "ask1Price": price,
        "bid1Size": "1",
        "basis": "",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
        "fundingIntervalHour": "8",
        "basisRateYear": "",
        "fundingCap": "0.005",
    }


def ticker_push(series: Series, now_ms: int, sequence: int) -> Json:
    full = ticker(series)
    data = {**{name: full[name] for name in TICKER_FIELDS}, "tickDirection": "ZeroPlusTick"}
    return {
        "topic": f"tickers.{series.symbol}",
        "type": "snapshot",
        "data": data,
        "cs": sequence,
        "ts": now_ms,
    }


def orderbook(series: Series, tick_size: str, depth: int, now_ms: int, sequence: int) -> Json:
    """Return a book around the last price: one unit at each tick, because a replay knows no more."""
    price, tick = Decimal(series.last_price()), Decimal(tick_size)
    return {
        "s": series.symbol,
        "b": [[format(price - tick * level, "f"), "1"] for level in range(depth) if price > tick * level],
        "a": [[format(price + tick * (level + 1), "f"), "1"] for level in range(depth)],
        "ts": now_ms,
        "u": sequence,
        "seq": sequence,
        "cts": now_ms,
    }


def orderbook_push(topic: str, book: Json) -> Json:
    data = {name: value for name, value in book.items() if name not in ("ts", "cts")}
    return {"topic": topic, "type": "snapshot", "ts": book["ts"], "data": data, "cts": book["cts"]}


def recent_trades(series: Series, limit: int) -> list[Json]:
    """Return one trade for each bar, newest first: its volume at its close."""
    return [
        {
            "execId": f"{series.symbol}-{candle.start}",
            "symbol": series.symbol,
            "price": candle.close,
            "size": candle.volume,
            "side": _taker_side(candle),
            "time": str(candle.start + series.interval_ms - 1),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(candle.start),
        }
        for candle in reversed(series.candles[max(0, series.closed - limit) : series.closed])
    ]


def trade_push(push: Push, interval_ms: int, now_ms: int) -> Json:
    """Return the trade of a bar that has ended, as the topic publicTrade has it."""
    candle = push.candle
    data = {
        "T": candle.start + interval_ms - 1,
        "s": push.symbol,
        "S": _taker_side(candle),
        "v": candle.volume,
        "p": candle.close,
        "L": "ZeroPlusTick",
        "i": f"{push.symbol}-{candle.start}",
        "BT": False,
        "RPI": False,
        "seq": candle.start,
    }
    return {"topic": f"publicTrade.{push.symbol}", "type": "snapshot", "ts": now_ms, "data": [data]}


def _taker_side(candle: Candle) -> str:
    return "Buy" if Decimal(candle.close) >= Decimal(candle.open) else "Sell"


def ack(operation: str, request_id: str, connection: str, *, ok: bool = True, message: str = "") -> Json:
    return {
        "success": ok,
        "ret_msg": message,
        "conn_id": connection,
        "req_id": request_id,
        "op": operation,
    }


def new_connection_id() -> str:
    return str(uuid4())


def newest_first(candles: Sequence[Candle]) -> list[list[str]]:
    return [kline_row(candle) for candle in reversed(candles)]
