"""`/v5/order/*` and `/v5/execution/list`."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from sandbox.bybit import order_messages
from sandbox.bybit.accounts import Accounts
from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import OrderRow
from sandbox.bybit.gateway import Answer, Call, Endpoint, Routes
from sandbox.bybit.messages import Json
from sandbox.bybit.paging import Query, page, window
from sandbox.bybit.routes.categories import of_linear
from sandbox.bybit.views import Numbered

ORDER = ("ContractTrade", "Order")
MAX_BATCH = 10
DEFAULT_ORDERS, MAX_ORDERS = 20, 50
DEFAULT_EXECUTIONS, MAX_EXECUTIONS = 50, 100

Carry = Callable[[Call, Json], OrderRow]


def count_orders(body: Json) -> int:
    """Return what a batch costs: one for each of its orders."""
    requests = body.get("request")
    return len(requests) if isinstance(requests, list) and requests else 1


class OrderRoutes:
    """Commands go to the engine; questions are answered from what is visible of the account."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._exchange: Exchange = accounts.exchange

    def routes(self) -> Routes:
        routes: Routes = {}
        single: dict[str, Carry] = {"create": self._create, "amend": self._amend, "cancel": self._cancel}
        for name, carry in single.items():
            routes["POST", f"/v5/order/{name}"] = Endpoint(_acknowledging(carry), permission=ORDER)
            routes["POST", f"/v5/order/{name}-batch"] = Endpoint(
                _batch(carry, with_time=name == "create"), permission=ORDER, cost=count_orders
            )
        routes["POST", "/v5/order/cancel-all"] = Endpoint(self._cancel_all, permission=ORDER)
        routes["GET", "/v5/order/realtime"] = Endpoint(of_linear(self._realtime), permission=ORDER)
        routes["GET", "/v5/order/history"] = Endpoint(of_linear(self._history), permission=ORDER)
        routes["GET", "/v5/execution/list"] = Endpoint(of_linear(self._executions), permission=ORDER)
        return routes

    def _create(self, call: Call, body: Json) -> OrderRow:
        return self._exchange.create_order(call.uid, body, call.now_ms)

    def _amend(self, call: Call, body: Json) -> OrderRow:
        return self._exchange.amend_order(call.uid, body, call.now_ms)

    def _cancel(self, call: Call, body: Json) -> OrderRow:
        loses = call.fault is not None and call.fault.action == "race"
        return self._exchange.cancel_order(call.uid, body, call.now_ms, loses=loses)

    def _cancel_all(self, call: Call) -> Json:
        cancelled = self._exchange.cancel_all(call.uid, call.body, call.now_ms)
        return {"list": [_ids(row) for row in cancelled], "success": "1"}

    def _realtime(self, call: Call) -> Json:
        """Open orders; with `openOnly` 1 closed ones of late; by id both."""
        query = call.query
        if not any(query.get(name) for name in ("symbol", "baseCoin", "settleCoin", "orderId", "orderLinkId")):
            raise Refusal(10001, "params error: symbol or settleCoin or baseCoin is required")
        view, before = self._accounts.view(call.uid), self._accounts.lookup_before_ms(call.uid)
        rows: Iterable[Numbered[OrderRow]]
        if query.get("orderId") or query.get("orderLinkId"):
            rows = chain(view.open_orders(before), view.recent_orders(before))
        elif query.get("openOnly", "0") == "0":
            rows = view.open_orders(before)
        else:
            rows = view.recent_orders(before)
        return _orders(filter(_filter(query), rows), query)

    def _history(self, call: Call) -> Json:
        """Closed orders of seven days."""
        query = call.query
        first, last = window(query, call.now_ms)
        view, before = self._accounts.view(call.uid), self._accounts.lookup_before_ms(call.uid)
        status = query.get("orderStatus")
        rows = (
            each
            for each in view.closed_orders(before)
            if first <= each.row.created_ms <= last and (not status or each.row.order_status == status)
        )
        return _orders(filter(_filter(query), rows), query)

    def _executions(self, call: Call) -> Json:
        query = call.query
        first, last = window(query, call.now_ms)
        kind, coin = query.get("execType"), query.get("baseCoin")
        rows = (
            each
            for each in self._accounts.view(call.uid).executions()
            if first <= each.row.exec_ms <= last
            and (query.get("symbol") or each.row.symbol) == each.row.symbol
            and (query.get("orderId") or each.row.order_id) == each.row.order_id
            and (query.get("orderLinkId") or each.row.order_link_id) == each.row.order_link_id
            and (not kind or each.row.exec_type == kind)
            and (not coin or each.row.symbol.startswith(coin))
        )
        shown, cursor = page(rows, query, DEFAULT_EXECUTIONS, MAX_EXECUTIONS)
        return {
            "nextPageCursor": cursor,
            "category": "linear",
            "list": [order_messages.execution(row) for row in shown],
        }


def _acknowledging(carry: Carry) -> Callable[[Call], Json]:
    return lambda call: _ids(carry(call, call.body))


def _batch(carry: Carry, *, with_time: bool) -> Callable[[Call], Answer]:
    """Carry out each request of a batch; some may be refused."""

    def handle(call: Call) -> Answer:
        requests = call.body.get("request")
        if not isinstance(requests, list) or not 1 <= len(requests) <= MAX_BATCH:
            raise Refusal(10001, f"params error: request must have 1 to {MAX_BATCH} orders")
        rows, codes = [], []
        for each in requests:
            body = {**each, "category": call.body.get("category")} if isinstance(each, dict) else {}
            row: Json = {"category": "linear", "symbol": body.get("symbol", "")}
            try:
                row |= _ids(carry(call, body))
                codes.append({"code": 0, "msg": "OK"})
            except Refusal as refusal:
                row |= {"orderId": "", "orderLinkId": str(body.get("orderLinkId", ""))}
                codes.append({"code": refusal.code, "msg": refusal.message})
            rows.append({**row, "createAt": str(call.now_ms)} if with_time else row)
        return Answer({"list": rows}, {"list": codes})

    return handle


def _ids(row: OrderRow) -> Json:
    return {"orderId": row.order_id, "orderLinkId": row.order_link_id}


def _orders(rows: Iterable[Numbered[OrderRow]], query: Query) -> Json:
    shown, cursor = page(rows, query, DEFAULT_ORDERS, MAX_ORDERS)
    return {
        "list": [order_messages.order(row) for row in shown],
        "nextPageCursor": cursor,
        "category": "linear",
    }


def _filter(query: Query) -> Callable[[Numbered[OrderRow]], bool]:
    wanted: Mapping[str, str] = {name: value for name, value in query.items() if value}
    kind = wanted.get("orderFilter")

    def matches(each: Numbered[OrderRow]) -> bool:
        row = each.row
        return (
            wanted.get("symbol", row.symbol) == row.symbol
            and wanted.get("orderId", row.order_id) == row.order_id
            and wanted.get("orderLinkId", row.order_link_id) == row.order_link_id
            and row.symbol.startswith(wanted.get("baseCoin", ""))
            and (kind is None or (kind == "Order") == (not row.stop_order_type))
        )

    return matches
