"""The exchange's refusals in words for tenants."""

_BALANCE = "Your balance on the exchange is not sufficient for this order."
_PRICE = "The price is outside the range that the exchange allows at the moment."
_REDUCE = "The exchange allows only orders that reduce a position in this contract at the moment."
_CLOSED = "The order is filled or cancelled already."
_REGION = "The exchange does not offer this to you: your region, its rules or an agreement stand against it."
_CONTRACT = "The contract cannot be traded at the moment."
_LIMIT = "The position would exceed the limit that the exchange sets for your leverage."

WORDS = {
    401: "The API key is not valid.",
    10001: "The exchange does not accept the values of the request.",
    10003: "The API key is not valid, or belongs to another environment of the exchange.",
    10004: "The API key's secret is wrong.",
    10005: "The API key lacks a permission for this.",
    10006: "The account's rate limit on the exchange is exceeded.",
    10007: "The API key is not valid.",
    10008: "The exchange has restricted the account.",
    10009: _REGION,
    10010: "The API key may not be used from the platform's address.",
    10024: _REGION,
    10027: "The exchange has stopped trading on the account.",
    10028: "The account is not a unified trading account.",
    10029: "The API key may not trade this symbol.",
    33004: "The API key has expired.",
    -2015: "The API key has expired.",
    110001: "The exchange does not know the order, or it is closed.",
    110003: _PRICE,
    110004: _BALANCE,
    110006: _BALANCE,
    110007: _BALANCE,
    110008: _CLOSED,
    110009: "The account has the maximum number of conditional orders on this symbol.",
    110010: _CLOSED,
    110012: _BALANCE,
    110013: "The leverage is not allowed for the size of your positions and orders.",
    110014: _BALANCE,
    110017: "There is no position, or not enough of it, that the order could reduce.",
    110020: "The account has the maximum of 500 open orders.",
    110021: _LIMIT,
    110023: _REDUCE,
    110040: "The order would lead to liquidation at once.",
    110042: _REDUCE,
    110044: _BALANCE,
    110045: _BALANCE,
    110051: _BALANCE,
    110052: _BALANCE,
    110053: _BALANCE,
    110066: "Trading is not allowed at the moment.",
    110072: "The exchange has an order with this id already.",
    110074: _CONTRACT,
    110086: "The order's leverage exceeds what the exchange allows for your risk limit.",
    110090: _LIMIT,
    110092: "The trigger price is below the current price, and the order waits for a rise.",
    110093: "The trigger price is above the current price, and the order waits for a fall.",
    110094: "The order's value is below the exchange's minimum.",
    110095: _CONTRACT,
    110100: "Demo accounts cannot trade this contract.",
    110108: "The slippage tolerance must be 1 to 10000 ticks.",
    110109: "The slippage tolerance must be 0.01 % to 10 %.",
    110118: "There is not enough liquidity for a market order.",
    110120: _PRICE,
    110121: _PRICE,
    110123: "Accept the exchange's trading terms first, on its website.",
    110124: "The exchange has paused your trading for a cooling-off period.",
    110125: "Accept the exchange's trading terms for this contract first, on its website.",
    110131: "The order needs more margin than the account has.",
    110132: _REGION,
    110136: _CONTRACT,
    170131: _BALANCE,
    170136: "The quantity is below the exchange's minimum.",
    170140: "The order's value is below the exchange's minimum.",
    170141: "The exchange has an order with this id already.",
    170213: "The exchange does not know the order, or it is closed.",
}


REASONS = {
    "EC_NoImmediateQtyToFill": "Nothing was offered at a price that the order may fill at.",
    "EC_NoEnoughQtyToFill": "Not enough was offered at a price that the order may fill at.",
    "EC_ReachMarketPriceLimit": "The price was beyond the slippage tolerance, or beyond the exchange's own limit.",
}
"""Why the exchange ended an order."""


def explain(code: int, words: str) -> str:
    """Return a sentence for the tenant with the exchange's words, or these alone where we have none."""
    return f"{WORDS[code]} ({words})" if code in WORDS else words


def explain_reason(reason: str) -> str:
    """Return a sentence for the tenant with the exchange's name of the reason, or that alone where we have none."""
    return f"{REASONS[reason]} ({reason})" if reason in REASONS else reason
