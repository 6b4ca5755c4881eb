"""Opens accounts and keys, changes their facts, and makes happen what only an exchange can do."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from decimal import Decimal

from aiohttp import web

from sandbox.bybit.accounts import Accounts
from sandbox.bybit.clock import Clock
from sandbox.bybit.control.requests import answering, flag, integer, name_of, number, only, read_body
from sandbox.bybit.delivery import Delays
from sandbox.bybit.exchange.terms import AccountTerms, Level, MarginMode
from sandbox.bybit.fields import set_fields
from sandbox.bybit.keys import SETTABLE, KeyRegistry, key_view
from sandbox.bybit.messages import Json
from sandbox.bybit.private_stream import PrivateStream

TERMS = {each.name for each in fields(AccountTerms)}
DELAYS = {each.name for each in fields(Delays)}
MARGIN_MODES: Mapping[object, MarginMode] = {
    "REGULAR_MARGIN": "REGULAR_MARGIN",
    "ISOLATED_MARGIN": "ISOLATED_MARGIN",
    "PORTFOLIO_MARGIN": "PORTFOLIO_MARGIN",
}
MAX_LEVELS = 100


class AccountControl:
    """Accounts, keys and delays; funding, deleveraging, liquidity, mark prices and the status of a contract."""

    def __init__(self, accounts: Accounts, keys: KeyRegistry, clock: Clock, private: PrivateStream) -> None:
        self._accounts = accounts
        self._exchange = accounts.exchange
        self._keys = keys
        self._clock = clock
        self._private = private

    def add_to(self, app: web.Application) -> None:
        account = "/control/accounts/{uid:[0-9]{1,18}}"
        app.router.add_get("/control/accounts", answering(self._get_accounts))
        app.router.add_post("/control/accounts", answering(self._post_account))
        app.router.add_patch(account, answering(self._patch_account))
        app.router.add_post(f"{account}/keys", answering(self._post_key))
        app.router.add_post(f"{account}/deposit", answering(self._post_deposit))
        app.router.add_post(f"{account}/deleverage", answering(self._post_deleverage))
        app.router.add_post(f"{account}/delays", answering(self._post_delays))
        app.router.add_post(f"{account}/clear-recent", answering(self._post_clear_recent))
        app.router.add_patch("/control/keys/{key}", answering(self._patch_key))
        app.router.add_post("/control/delays", answering(self._post_delays))
        app.router.add_post("/control/funding", answering(self._post_funding))
        app.router.add_post("/control/liquidity", answering(self._post_liquidity))
        app.router.add_post("/control/mark-price", answering(self._post_mark_price))
        app.router.add_post("/control/status", answering(self._post_status))

    async def _get_accounts(self, _: web.Request) -> list[Json]:
        return [self._view(uid) for uid in self._accounts.uids()]

    async def _post_account(self, request: web.Request) -> Json:
        return self.open(await read_body(request))

    def open(self, body: Mapping[str, object]) -> Json:
        """Open an account with a key. Return both with the key's secret, which is shown only here.

        Raises ValueError.
        """
        only(body, "uid", "key", *TERMS)
        facts = body.get("key", {})
        if not isinstance(facts, dict):
            raise ValueError("key must be an object")
        uid = self._accounts.open(_terms(body, AccountTerms()), name_of(body, "uid"))
        return {**self._create_key(uid, facts), "account": self._view(uid)}

    async def _patch_account(self, request: web.Request) -> Json:
        uid, body = self._uid(request), await read_body(request)
        only(body, *(TERMS - {"balance", "leverages"}))
        self._exchange.set_terms(uid, _terms(body, self._accounts.state(uid).terms), self._clock.market_ms)
        self._accounts.deliver()
        return self._view(uid)

    async def _post_key(self, request: web.Request) -> Json:
        return self._create_key(self._uid(request), await read_body(request))

    async def _patch_key(self, request: web.Request) -> Json:
        """Change a key. The connections of one that is revoked are closed."""
        key = self._keys.find(request.match_info["key"])
        if key is None:
            raise KeyError(request.match_info["key"])
        set_fields(key, await read_body(request), SETTABLE)
        if key.revoked:
            for connection in self._private.connections(key.uid):
                if connection.key is key:
                    await connection.socket.close()
        return key_view(key)

    async def _post_deposit(self, request: web.Request) -> Json:
        uid, body = self._uid(request), await read_body(request)
        only(body, "amount")
        self._exchange.deposit(uid, number(body, "amount"), self._clock.market_ms)
        self._accounts.deliver()
        return self._view(uid)

    async def _post_deleverage(self, request: web.Request) -> Json:
        uid, body = self._uid(request), await read_body(request)
        only(body, "symbol", "quantity", "price")
        quantity, price = number(body, "quantity"), number(body, "price")
        self._exchange.deleverage(uid, _symbol(body), quantity, price, self._clock.market_ms)
        self._accounts.deliver()
        return self._view(uid)

    async def _post_delays(self, request: web.Request) -> Json:
        """Set delays of one account, or of all that have none of their own."""
        uid = self._uid(request) if "uid" in request.match_info else None
        delays = replace(self._accounts.delays_of(uid) if uid else self._accounts.delays)
        set_fields(delays, await read_body(request), DELAYS)
        delays.check()
        if uid:
            self._accounts.set_delays(uid, delays)
        else:
            self._accounts.delays = delays
        return asdict(delays)

    async def _post_clear_recent(self, request: web.Request) -> Json:
        uid = self._uid(request)
        self._accounts.view(uid).clear_recent()
        return self._view(uid)

    async def _post_funding(self, request: web.Request) -> Json:
        body = await read_body(request)
        only(body, "symbol", "rate")
        self._exchange.fund(_symbol(body), number(body, "rate"), self._clock.market_ms)
        self._accounts.deliver()
        return {}

    async def _post_liquidity(self, request: web.Request) -> Json:
        """`levels`: [[ticks from the price, quantity or null], …]; null: without limit."""
        body = await read_body(request)
        only(body, "symbol", "levels")
        self._exchange.set_liquidity(_symbol(body), _levels(body.get("levels")))
        return {}

    async def _post_mark_price(self, request: web.Request) -> Json:
        """`price` null: the mark price follows the last price again."""
        body = await read_body(request)
        only(body, "symbol", "price")
        price = None if body.get("price") is None else number(body, "price")
        self._exchange.set_mark_price(_symbol(body), price, self._clock.market_ms)
        self._accounts.deliver()
        return {}

    async def _post_status(self, request: web.Request) -> Json:
        body = await read_body(request)
        only(body, "symbol", "status")
        self._exchange.set_status(_symbol(body), name_of(body, "status") or "Trading")
        self._accounts.deliver()
        return {}

    def _uid(self, request: web.Request) -> str:
        """Raises KeyError."""
        uid = request.match_info["uid"]
        self._accounts.view(uid)
        return uid

    def _create_key(self, uid: str, facts: Mapping[str, object]) -> Json:
        key = self._keys.create(uid, self._clock.wall_ms, facts)
        return {"uid": uid, "api_key": key.key, "api_secret": key.secret}

    def _view(self, uid: str) -> Json:
        state = self._accounts.state(uid)
        return {
            "uid": uid,
            "wallet": asdict(state.wallet),
            "terms": {name: getattr(state.terms, name) for name in sorted(TERMS - {"leverages"})},
            "lpa_perp": state.lpa_perp,
            "positions": [asdict(row) for row in state.positions.values() if row.size],
            "open_orders": [asdict(row) for row in state.open_orders],
            "delays": asdict(self._accounts.delays_of(uid)),
            "keys": [key_view(key) for key in self._keys.of(uid)],
        }


def _terms(given: Mapping[str, object], base: AccountTerms) -> AccountTerms:
    """Raises ValueError."""
    mode, hedged, leverages = given.get("margin_mode"), given.get("hedge_symbols"), given.get("leverages", {})
    if mode is not None and mode not in MARGIN_MODES:
        raise ValueError(f"margin_mode must be one of {', '.join(map(str, MARGIN_MODES))}")
    if not isinstance(leverages, dict) or not isinstance(hedged, list | None):
        raise ValueError("leverages must be an object, hedge_symbols a list")
    return replace(
        base,
        balance=number(given, "balance", base.balance),
        taker_fee=number(given, "taker_fee", base.taker_fee),
        maker_fee=number(given, "maker_fee", base.maker_fee),
        slippage=number(given, "slippage", base.slippage),
        leverage=number(given, "leverage", base.leverage),
        margin_mode=MARGIN_MODES.get(mode, base.margin_mode),
        lpa_perp=flag(given, "lpa_perp", base.lpa_perp),
        fmsef=flag(given, "fmsef", base.fmsef),
        mnt_price=number(given, "mnt_price", base.mnt_price),
        hedge_symbols=base.hedge_symbols if hedged is None else tuple(map(str, hedged)),
        unified_margin_status=integer(given, "unified_margin_status", base.unified_margin_status, 0, 9),
        delta_neutral=flag(given, "delta_neutral", base.delta_neutral),
        leverages={**base.leverages, **{symbol: number(leverages, symbol) for symbol in leverages}},
    )


def _symbol(body: Mapping[str, object]) -> str:
    """Raises ValueError."""
    symbol = name_of(body, "symbol")
    if symbol is None:
        raise ValueError("symbol is missing")
    return symbol


def _levels(given: object) -> list[Level] | None:
    """Raises ValueError."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) > MAX_LEVELS:
        raise ValueError(f"levels must be null or a list of at most {MAX_LEVELS} pairs")
    levels = []
    for each in given:
        if not isinstance(each, list) or len(each) != 2:
            raise ValueError("a level is [ticks, quantity or null]")
        row: Mapping[str, object] = {"ticks": each[0], "quantity": each[1]}
        quantity: Decimal | None = None if each[1] is None else number(row, "quantity")
        levels.append(Level(integer(row, "ticks", None, 0, 1_000_000), quantity))
    return levels
