"""Bybit's V5 messages, with the structure of the examples in its documentation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Instrument:
    """The filters of a linear contract in instruments-info."""

    tick_size: str = "0.01"
    qty_step: str = "0.001"
    min_order_qty: str = "0.001"
    min_notional: str = "5"


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


def instrument_info(symbol: str, instrument: Instrument) -> Json:
    """Return a linear perpetual as in instruments-info."""
    base = symbol.removesuffix("USDT").removesuffix("USD")
    digits = max(0, -int(Decimal(instrument.tick_size).normalize().as_tuple().exponent))
    return {
        "symbol": symbol,
        "symbolId": 1,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(digits),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": instrument.tick_size,
            "maxPrice": "1999999.80",
            "tickSize": instrument.tick_size,
        },
        "lotSizeFilter": {
            "maxOrderQty": "1000000000.000",
            "minOrderQty": instrument.min_order_qty,
            "qtyStep": instrument.qty_step,
            "postOnlyMaxOrderQty": "1000000000.000",
            "maxMktOrderQty": "1000000000.000",
            "minNotionalValue": instrument.min_notional,
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": "USDT",
        "copyTrading": "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "symbolType": "",
    }


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
