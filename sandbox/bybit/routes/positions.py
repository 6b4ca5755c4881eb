"""`/v5/position/*`."""

from collections.abc import Callable
from decimal import Decimal

from sandbox.bybit import account_messages
from sandbox.bybit.accounts import Accounts
from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import PositionRow
from sandbox.bybit.exchange.terms import HEDGE
from sandbox.bybit.gateway import Call, Endpoint, Routes
from sandbox.bybit.messages import Json
from sandbox.bybit.paging import page, window
from sandbox.bybit.routes.categories import of_linear
from sandbox.bybit.views import numbered

POSITION = ("ContractTrade", "Position")
DEFAULT_POSITIONS, MAX_POSITIONS = 20, 200
DEFAULT_PNL, MAX_PNL = 50, 100
DEFAULT_INFO, MAX_INFO = 20, 200
NOTHING = Decimal(0)

Set = Callable[[str, Json, int], None]


class PositionRoutes:
    """Settings go to the engine; questions are answered from what is visible of the account."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._exchange: Exchange = accounts.exchange

    def routes(self) -> Routes:
        return {
            ("POST", "/v5/position/set-leverage"): Endpoint(
                _setting(self._exchange.set_leverage), permission=POSITION
            ),
            ("POST", "/v5/position/switch-mode"): Endpoint(
                _setting(self._exchange.switch_mode), permission=POSITION
            ),
            ("POST", "/v5/position/trading-stop"): Endpoint(
                _setting(self._exchange.set_trading_stop), permission=POSITION
            ),
            ("GET", "/v5/position/list"): Endpoint(of_linear(self._list), permission=POSITION),
            ("GET", "/v5/position/symbol-info"): Endpoint(
                of_linear(self._symbol_info, is_required=False), permission=POSITION
            ),
            ("GET", "/v5/position/closed-pnl"): Endpoint(of_linear(self._closed_pnl), permission=POSITION),
        }

    def _list(self, call: Call) -> Json:
        """With a symbol its position, also if it is flat; otherwise those that are not flat."""
        query = call.query
        symbol = query.get("symbol")
        positions = self._accounts.positions(call.uid)
        if symbol:
            rows = [positions.get(symbol) or self._flat(call.uid, symbol, call.now_ms)]
        elif query.get("settleCoin") or query.get("baseCoin"):
            coin = query.get("baseCoin", "")
            rows = [each for each in positions.values() if each.size and each.symbol.startswith(coin)]
        else:
            raise Refusal(10001, "params error: symbol or settleCoin is required")
        shown, cursor = page(numbered(rows, len(rows)), query, DEFAULT_POSITIONS, MAX_POSITIONS)
        return {
            "list": [account_messages.position(row) for row in shown],
            "nextPageCursor": cursor,
            "category": "linear",
        }

    def _flat(self, uid: str, symbol: str, now_ms: int) -> PositionRow:
        """Raises Refusal."""
        state = self._accounts.state(uid)
        if symbol not in state.leverages:
            raise Refusal(10001, "params error: symbol invalid")
        isolated = state.terms.margin_mode == "ISOLATED_MARGIN"
        return PositionRow(
            symbol=symbol,
            side="",
            size=NOTHING,
            entry_price=NOTHING,
            leverage=state.leverages[symbol],
            position_value=NOTHING,
            mark_price=self._exchange.mark_price(symbol) or NOTHING,
            liq_price=None,
            bust_price=None,
            break_even_price=None,
            position_im=NOTHING,
            position_mm=NOTHING,
            position_balance=NOTHING,
            unrealised_pnl=NOTHING,
            cur_realised_pnl=NOTHING,
            cum_realised_pnl=NOTHING,
            tpsl_mode="Full",
            take_profit=NOTHING,
            stop_loss=NOTHING,
            trailing_stop=NOTHING,
            active_price=NOTHING,
            trade_mode=int(isolated),
            position_status="Normal",
            risk_limit_value=NOTHING,
            created_ms=now_ms,
            updated_ms=now_ms,
            seq=-1,
        )

    def _symbol_info(self, call: Call) -> Json:
        """The leverage and the position mode of each symbol, with or without a position."""
        state = self._accounts.state(call.uid)
        rows = [
            {"symbol": symbol, "leverage": account_messages.text(leverage), "side": side, "positionIdx": index}
            for symbol, leverage in state.leverages.items()
            if call.query.get("symbol", symbol) == symbol
            for side, index in ((("Buy", 1), ("Sell", 2)) if state.modes[symbol] == HEDGE else (("", 0),))
        ]
        shown, cursor = page(numbered(rows, len(rows)), call.query, DEFAULT_INFO, MAX_INFO)
        return {"category": "linear", "list": shown, "nextPageCursor": cursor}

    def _closed_pnl(self, call: Call) -> Json:
        query = call.query
        first, last = window(query, call.now_ms)
        rows = self._accounts.state(call.uid).closed_pnl
        found = (
            each
            for each in numbered(reversed(rows), len(rows))
            if first <= each.row.updated_ms <= last and (query.get("symbol") or each.row.symbol) == each.row.symbol
        )
        shown, cursor = page(found, query, DEFAULT_PNL, MAX_PNL)
        return {
            "nextPageCursor": cursor,
            "category": "linear",
            "list": [account_messages.closed_pnl(row) for row in shown],
        }


def _setting(change: Set) -> Callable[[Call], Json]:
    def handle(call: Call) -> Json:
        change(call.uid, call.body, call.now_ms)
        return {}

    return handle
