"""The categories of contracts: linear ones exist here, of the others there are none."""

from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.gateway import Answer, Call, Handler
from sandbox.bybit.messages import Json

LINEAR = "linear"
OTHERS = ("spot", "inverse", "option")
SETTLE_COIN = "USDT"


def of_linear(handler: Handler, *, is_required: bool = True) -> Handler:
    """Answer questions about other categories and settle coins with an empty list; clients ask for all of them."""

    def handle(call: Call) -> Answer | Json:
        category = call.query.get("category", "" if is_required else LINEAR)
        if category not in (LINEAR, *OTHERS):
            raise Refusal(10001, "params error: category invalid")
        if category != LINEAR or (call.query.get("settleCoin") or SETTLE_COIN) != SETTLE_COIN:
            return {"list": [], "nextPageCursor": "", "category": category}
        return handler(call)

    return handle
