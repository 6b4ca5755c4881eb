"""Reads the facts of an account and its key, and changes the one setting that we change."""

from dataclasses import replace
from datetime import datetime

from services.trading.bybit_api import UNREADABLE
from services.trading.exchange.account_api import Answer
from services.trading.exchange.account_calls import AccountCalls
from services.trading.exchange.account_facts import AccountFacts
from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.messages import CATEGORY, ONE_WAY, SETTLE_COIN, Row, rows_of, symbols_of
from services.trading.exchange.request_window import Lane
from services.trading.exchange.venue import VenueUnavailable
from shared.contracts.types import EPOCH, to_instant

KEY = "/v5/user/query-api"
ACCOUNT = "/v5/account/info"
BEHAVIOUR = "/v5/account/user-setting-config"
POSITIONS = "/v5/position/list"
LEVERAGES = "/v5/position/symbol-info"
LIMIT_PRICE_ACTION = "/v5/account/set-limit-px-action"

ANY_ADDRESS = "*"
THIRD_PARTY = 2
UNIFIED = frozenset({3, 4, 5, 6})  # of unifiedMarginStatus
PORTFOLIO = "PORTFOLIO_MARGIN"
NO_PARENT = "0"
NOT_UNIFIED: Row = {"unifiedMarginStatus": 1, "marginMode": "", "lpaPerp": False, "fmsef": False}
PAGE = 200
_SETTLE = {"category": CATEGORY, "settleCoin": SETTLE_COIN}


async def read_account_facts(calls: AccountCalls) -> AccountFacts:
    """Raises KeyRejected, VenueUnavailable."""
    key = await calls.question(Lane.STOP, KEY, {}, _result)
    try:
        if key["uta"] != 1:  # the exchange answers nothing else about an account that is not unified
            return _facts(key, NOT_UNIFIED, NOT_UNIFIED)
        account = await calls.question(Lane.STOP, ACCOUNT, {}, _result)
        behaviour = await calls.question(Lane.STOP, BEHAVIOUR, {}, _result)
        positions = await calls.question(Lane.STOP, POSITIONS, {**_SETTLE, "limit": PAGE}, _rows)
        modes = positions
        if account["marginMode"] != PORTFOLIO:  # the exchange does not answer then
            modes = [*modes, *await calls.question(Lane.STOP, LEVERAGES, {"category": CATEGORY}, _rows)]
        orders = await BybitVenue(calls).list_open_orders()
        wallet = await BybitVenue(calls).get_wallet()
        return replace(
            _facts(key, account, behaviour),
            hedge_symbols=symbols_of(row for row in modes if row["positionIdx"] != ONE_WAY),
            balance=wallet.balance,
            open_positions=symbols_of(row for row in positions if row["side"] in ("Buy", "Sell")),
            open_orders=tuple(sorted({order.symbol for order in orders})),
        )
    except UNREADABLE as error:
        raise VenueUnavailable(f"the account cannot be read: {error!r}") from error


async def set_limit_price_action(calls: AccountCalls) -> None:
    """Have limit orders beyond the price band refused instead of moved (`lpaPerp`). Raises as a command."""
    await calls.command(Lane.ENTRY, LIMIT_PRICE_ACTION, {"category": CATEGORY, "modifyEnable": False})


def _facts(key: Row, account: Row, behaviour: Row) -> AccountFacts:
    permissions, addresses = key["permissions"], key["ips"]
    if not isinstance(permissions, dict) or not isinstance(addresses, list):
        raise TypeError("permissions or ips")
    parent, days = str(key["parentUid"]), key["deadlineDay"]
    return AccountFacts(
        uid=str(key["userID"]),
        parent_uid=None if parent == NO_PARENT else parent,
        is_read_only=key["readOnly"] != 0,
        is_third_party=key["type"] == THIRD_PARTY,
        permissions={group: tuple(map(str, each)) for group, each in permissions.items() if each},
        addresses=tuple(str(address) for address in addresses if address != ANY_ADDRESS),
        expires_at=_expiry(key["expiredAt"]),
        days_left=days if isinstance(days, int) and days >= 0 else None,
        is_unified=key["uta"] == 1 and account["unifiedMarginStatus"] in UNIFIED,
        margin_mode=str(account["marginMode"]),
        rejects_beyond_band=behaviour["lpaPerp"] is True,
        pays_fees_in_mnt=behaviour["fmsef"] is True,
        is_delta_neutral=behaviour.get("deltaEnable") is True,
        kyc_region=str(key["kycRegion"]),
    )


def _expiry(text: object) -> datetime | None:
    """The exchange writes 1970 for a key that does not expire."""
    moment = to_instant(text)
    return moment if moment > EPOCH else None


def _result(answer: Answer) -> Row:
    result: Row = answer.result
    return result


def _rows(answer: Answer) -> list[Row]:
    return rows_of(answer.result)
