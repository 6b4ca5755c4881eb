"""Runs a whole order life with unmodified ccxt against a sandbox; run by `.venv-peers-of-tests`.

The arguments are the sandbox's URL, an API key and its secret. The market is moved between the steps through
`/control/step`. Prints one JSON object with what ccxt reports at each step.
"""

import json
import sys
import urllib.request

import ccxt

SYMBOL = "BTC/USDT:USDT"


def main() -> None:
    url, key, secret = sys.argv[1:]
    exchange = ccxt.bybit({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.urls["api"] = {"public": url, "private": url}
    print(json.dumps(live(exchange, url)))  # noqa: T201


def live(exchange: ccxt.bybit, url: str) -> dict[str, object]:
    seen: dict[str, object] = {}
    market = exchange.load_markets()[SYMBOL]
    seen["market"] = [market["id"], market["precision"]["amount"], market["precision"]["price"]]
    seen["balance"] = exchange.fetch_balance()["USDT"]["free"]
    exchange.set_leverage(5, SYMBOL)
    seen["leverage"] = exchange.fetch_leverage(SYMBOL)["longLeverage"]
    entry = exchange.create_order(SYMBOL, "market", "buy", 1, None, {"stopLoss": {"triggerPrice": 90}})
    filled = exchange.fetch_order(entry["id"], SYMBOL, {"acknowledged": True})
    seen["entry"] = [filled["status"], filled["filled"], filled["average"]]
    (stop,) = exchange.fetch_open_orders(SYMBOL, params={"trigger": True})
    seen["stop"] = [stop["side"], stop["reduceOnly"], stop["stopPrice"]]
    (position,) = exchange.fetch_positions([SYMBOL])
    seen["position"] = [position["side"], position["contracts"], position["entryPrice"], position["stopLossPrice"]]
    resting = exchange.create_order(SYMBOL, "limit", "sell", 0.5, 120, {"reduceOnly": True})
    exchange.edit_order(resting["id"], SYMBOL, "limit", "sell", 0.4, 121)
    amended = exchange.fetch_open_order(resting["id"], SYMBOL)
    seen["amended"] = [amended["price"], amended["amount"], amended["status"]]
    exchange.cancel_order(resting["id"], SYMBOL)
    seen["cancelled"] = [order["status"] for order in exchange.fetch_canceled_orders(SYMBOL)]
    rising = {"triggerPrice": 103, "triggerDirection": "ascending", "reduceOnly": True}
    trigger = exchange.create_order(SYMBOL, "market", "sell", 0.25, None, rising)
    for _bar in range(3):
        request = urllib.request.Request(f"{url}/control/step", b"{}", {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()
    seen["triggered"] = exchange.fetch_closed_order(trigger["id"], SYMBOL)["status"]
    exchange.create_order(SYMBOL, "limit", "sell", 0.1, 150, {"reduceOnly": True})
    exchange.cancel_all_orders(SYMBOL)
    exchange.create_order(SYMBOL, "market", "sell", 0.75, None, {"reduceOnly": True})
    (flat,) = exchange.fetch_positions([SYMBOL])
    seen["flat"] = [len(exchange.fetch_open_orders(SYMBOL)), flat["contracts"]]
    trades = exchange.fetch_my_trades(SYMBOL)
    seen["trades"] = [[trade["side"], trade["amount"], trade["fee"]["currency"]] for trade in trades]
    try:
        exchange.cancel_order(resting["id"], SYMBOL)
    except ccxt.InvalidOrder as error:
        seen["refused"] = type(error).__name__
    return seen


if __name__ == "__main__":
    main()
