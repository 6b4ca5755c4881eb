"""Which of Bybit's official examples the sandbox does not emit, and how a message is compared with one."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# By file name. What is not listed here is emitted.
NOT_BUILT: Mapping[str, str] = {
    r"market__instrument__1": "a contract before its launch",
    r"market__instrument__2|market__tickers__1|websocket__public__ticker__2": "options",
    r"market__instrument__3|market__tickers__2|websocket__public__ticker__3": "spot",
    r"websocket__public__ticker__1": "dated futures",
    r"market__(iv|delivery-price|new-delivery-price)__0": "options and dated futures",
    r"market__(index|mark|premium-index)-kline__0": "a replay has traded prices only",
    r"market__(adl-alert|fee-group-info|index-components|insurance|long-short-ratio|open-interest)__0": (
        "statistics of a market with many participants"
    ),
    r"market__history-fund-rate__0": "funding happens on demand, not on a schedule",
    r"market__rpi-orderbook__0|websocket__public__orderbook-rpi__\d": "orders of retail price improvement",
    r"websocket__public__orderbook__0": "a book is sent as snapshots only",
    r"order__dcp__0|websocket__private__dcp__0": "disconnect-cancel is for institutional clients",
    r"order__pre-check-order__0": "not called by bots",
    r"order__spot-borrow-quota__0": "spot",
    r"position__(auto-add-margin|manual-add-margin|confirm-mmr)__0": "margin is not moved by hand",
    r"position__close-position__0": "options",
    r"position__move-position(-history)?__0": "block trades",
    r"websocket__private__(greek|strategy)__\d": "options and the exchange's own bots",
    r"websocket__wss-authentication__(3|5|11|13)": "spot, options and spreads",
}
# Newer than the examples; ccxt and pybit know most of them.
NEWER_NAMES = frozenset({
    "RPI", "category", "closeFee", "closedSize", "createType", "execPnl", "extraFees", "feeCurrency", "fmsef",
    "isLeverage", "lpaPerp", "marketUnit", "nextPageCursor", "ocoTriggerBy", "openFee", "parentOrderLinkId",
    "req_id", "retExtInfo", "rpiMatchedQty", "rpiTakerAccess", "slippageTolerance", "slippageToleranceType",
    "smpOrderId", "time",
})  # fmt: skip
FREE_NAMES = frozenset({"cumFeeDetail"})  # objects whose names are coins


def reason_not_built(file: str) -> str | None:
    name = file.removesuffix(".json")
    return next((reason for pattern, reason in NOT_BUILT.items() if re.fullmatch(pattern, name)), None)


def differences(example: Any, ours: Any, path: str = "") -> Iterator[str]:  # Any: JSON
    """Yield where names or types differ. Of a list the first element is compared."""
    if isinstance(example, dict) and isinstance(ours, dict):
        if path.rpartition(".")[2] in FREE_NAMES:
            return
        for name in example.keys() - ours.keys():
            yield f"{path}.{name} is missing"
        for name in ours.keys() - example.keys() - NEWER_NAMES:
            yield f"{path}.{name} is not in the example"
        for name in example.keys() & ours.keys():
            yield from differences(example[name], ours[name], f"{path}.{name}")
    elif isinstance(example, list) and isinstance(ours, list):
        if example and not ours and path.endswith((".list", ".data")):
            yield f"{path} is empty"
        elif example and ours:
            yield from differences(example[0], ours[0], f"{path}[0]")
    elif type(example) is not type(ours):
        yield f"{path}: {type(ours).__name__} instead of {type(example).__name__}"
