"""Refused requests, with Bybit's return codes and words."""

from types import MappingProxyType

WORDS = MappingProxyType(
    {
        10001: "Request parameter error.",
        34040: "not modified",
        110001: "order not exists or too late to cancel",
        110003: "Order price exceeds the allowable range.",
        110004: "Insufficient wallet balance",
        110007: "ab not enough for new order",
        110008: "The order has been completed or cancelled.",
        110009: "The number of stop orders exceeds the maximum allowable limit.",
        110010: "The order has been cancelled.",
        110012: "Insufficient available balance.",
        110013: "Cannot set leverage due to risk limit level.",
        110017: "orderQty will be truncated to zero.",
        110020: "Not allowed to have more than 500 active orders.",
        110024: "You have an existing position, so the position mode cannot be switched.",
        110025: "Position mode is not modified",
        110028: "You have existing open orders, so the position mode cannot be switched.",
        110043: "leverage not modified",
        110060: "Cannot have more than 20 TP/SLs under Partial tpSlMode",
        110063: "The number of contracts modified cannot be less than or equal to the filled quantity",
        110072: "OrderLinkedID is duplicate",
        110074: "This contract is not live",
        110090: "Order placement failed as your position may exceed the max limit.",
        110092: "expect Rising, but trigger_price is not above the current price",
        110093: "expect Falling, but trigger_price is not below the current price",
        110094: "Order does not meet minimum order value",
        110108: "slippageTolerance of TickSize is allowed from 1 to 10000",
        110109: "slippageTolerance of Percent is allowed from 0.01 to 10",
        110120: "The buy order price is above the highest price allowed.",
        110121: "The sell order price is below the lowest price allowed.",
    }
)


class Refusal(Exception):
    """The request is refused, and nothing has changed. `code` is Bybit's retCode, `message` its retMsg."""

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = code
        self.message = WORDS[code] if message is None else message
        super().__init__(f"{self.message} ({self.code})")
