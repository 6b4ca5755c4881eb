"""Follows an account over WebSockets with unmodified ccxt; run by `.venv-peers-of-tests`.

The arguments are the sandbox's URL, an API key and its secret. Prints one JSON object with what ccxt
receives once an order is made on the account.
"""

import asyncio
import json
import sys

import ccxt.pro

SYMBOL = "BTC/USDT:USDT"
TIMEOUT_S = 20


async def main(url: str, key: str, secret: str) -> None:
    streams = f"ws{url.removeprefix('http')}/v5"
    exchange = ccxt.pro.bybit({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.urls["api"] = {
        "public": url,
        "private": url,
        "ws": {
            "public": {"linear": f"{streams}/public/linear"},
            "private": {"spot": {"unified": f"{streams}/private"}, "contract": f"{streams}/private"},
        },
    }
    try:
        async with asyncio.timeout(TIMEOUT_S):
            print(json.dumps(await follow(exchange)))  # noqa: T201
    finally:
        await exchange.close()


async def follow(exchange: ccxt.pro.bybit) -> dict[str, object]:
    await exchange.load_markets()
    book, ticker = await exchange.watch_order_book(SYMBOL), await exchange.watch_ticker(SYMBOL)
    orders, trades, balance = await asyncio.gather(
        exchange.watch_orders(SYMBOL), exchange.watch_my_trades(SYMBOL), exchange.watch_balance()
    )
    return {
        "book": book["bids"][0][0],
        "ticker": ticker["last"],
        "order": orders[-1]["side"],
        "trade": [trades[-1]["price"], trades[-1]["amount"]],
        "balance": balance["USDT"]["total"],
    }


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
