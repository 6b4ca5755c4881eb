"""`/v5/account/*`, `/v5/user/query-api`, and what else clients read about an account."""

from sandbox.bybit import account_messages
from sandbox.bybit.account_messages import text
from sandbox.bybit.accounts import Accounts
from sandbox.bybit.clock import Clock
from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.gateway import Call, Endpoint, Routes
from sandbox.bybit.keys import query_api
from sandbox.bybit.messages import Json
from sandbox.bybit.paging import page, window
from sandbox.bybit.routes.categories import of_linear
from sandbox.bybit.routes.market import MarketRoutes
from sandbox.bybit.views import numbered

DEFAULT_LOG, MAX_LOG = 20, 50


class AccountRoutes:
    """Facts and settings of an account and its key."""

    def __init__(self, accounts: Accounts, clock: Clock, market: MarketRoutes) -> None:
        self._accounts = accounts
        self._exchange: Exchange = accounts.exchange
        self._clock = clock
        self._market = market

    def routes(self) -> Routes:
        return {
            ("GET", "/v5/account/wallet-balance"): Endpoint(self._wallet_balance),
            ("GET", "/v5/account/info"): Endpoint(self._info),
            ("GET", "/v5/account/user-setting-config"): Endpoint(self._settings),
            ("POST", "/v5/account/set-limit-px-action"): Endpoint(self._set_limit_price_action),
            ("GET", "/v5/account/fee-rate"): Endpoint(of_linear(self._fee_rate, is_required=False)),
            ("GET", "/v5/account/instruments-info"): Endpoint(
                of_linear(self._market.instruments_info, is_required=False)
            ),
            ("GET", "/v5/account/transaction-log"): Endpoint(of_linear(self._transaction_log, is_required=False)),
            ("GET", "/v5/user/query-api"): Endpoint(self._query_api),
            ("GET", "/v5/asset/coin/query-info"): Endpoint(self._coins),
        }

    def _wallet_balance(self, call: Call) -> Json:
        if call.query.get("accountType") != "UNIFIED":
            raise Refusal(10001, "accountType only support UNIFIED.")
        shown = account_messages.wallet(self._accounts.wallet(call.uid))
        coins = call.query.get("coin")
        if coins and "USDT" not in coins.split(","):
            shown["coin"] = []
        return {"list": [shown]}

    def _info(self, call: Call) -> Json:
        state = self._accounts.state(call.uid)
        return {
            "marginMode": state.terms.margin_mode,
            "updatedTime": str(call.now_ms),
            "unifiedMarginStatus": state.terms.unified_margin_status,
            "dcpStatus": "OFF",
            "timeWindow": 10,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
            "lpaPerp": state.lpa_perp,
            "fmsef": state.terms.fmsef,
        }

    def _settings(self, call: Call) -> Json:
        state = self._accounts.state(call.uid)
        return {
            "lpaSpot": False,
            "lpaPerp": state.lpa_perp,
            "deltaEnable": state.terms.delta_neutral,
            "smsef": False,
            "fmsef": state.terms.fmsef,
        }

    def _set_limit_price_action(self, call: Call) -> Json:
        self._exchange.set_limit_price_action(call.uid, call.body, call.now_ms)
        return {}

    def _fee_rate(self, call: Call) -> Json:
        state = self._accounts.state(call.uid)
        symbols = [each for each in state.leverages if call.query.get("symbol", each) == each]
        fees = {"takerFeeRate": text(state.terms.taker_fee), "makerFeeRate": text(state.terms.maker_fee)}
        return {"list": [{"symbol": symbol, **fees} for symbol in symbols]}

    def _transaction_log(self, call: Call) -> Json:
        query = call.query
        first, last = window(query, call.now_ms)
        rows = self._accounts.state(call.uid).transactions
        found = (
            each
            for each in numbered(reversed(rows), len(rows))
            if first <= each.row.at_ms <= last
            and (query.get("type") or each.row.type) == each.row.type
            and (query.get("currency") or each.row.currency) == each.row.currency
        )
        shown, cursor = page(found, query, DEFAULT_LOG, MAX_LOG)
        return {"nextPageCursor": cursor, "list": [account_messages.transaction(row) for row in shown]}

    def _query_api(self, call: Call) -> Json:
        assert call.key is not None, "the route is private"
        return query_api(call.key, self._clock.wall_ms)

    def _coins(self, call: Call) -> Json:
        coins = [coin for coin in ("USDT",) if call.query.get("coin", coin) == coin]
        return {"rows": [_coin(coin) for coin in coins]}


def _coin(coin: str) -> Json:
    chain = {
        "chain": "ETH",
        "chainType": "Ethereum",
        "confirmation": "6",
        "withdrawFee": "",
        "depositMin": "0",
        "withdrawMin": "0",
        "minAccuracy": "6",
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "withdrawPercentageFee": "0",
        "contractAddress": "",
        "safeConfirmNumber": "65",
    }
    return {"name": coin, "coin": coin, "remainAmount": "0", "chains": [chain]}
