"""What the exchange says about an account and its key."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aiohttp import web

from services.trading.exchange.account_facts import AccountFacts, Credentials
from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.exchange import Exchange, TradingAccount
from services.trading.exchange.venue import KeyRejected, VenueUnavailable
from tests.unit.trading.exchange.rows import Row, listed, order_row, position_row, wallet_row
from tests.unit.trading.exchange.server import KEY, SECRET, Scripted, account, coded, scripted

CREDENTIALS = Credentials(KEY, SECRET)
SITE = account()
Scene = tuple[Scripted, Exchange, BybitVenue]


def key_row(**changes: object) -> Row:
    return {
        "readOnly": 0,
        "permissions": {"ContractTrade": ["Order", "Position"], "Spot": [], "Wallet": ["AccountTransfer"]},
        "ips": ["*"],
        "type": 1,
        "deadlineDay": 83,
        "expiredAt": "2027-02-20T07:01:01Z",
        "uta": 1,
        "userID": 1448939,
        "parentUid": "0",
        "kycRegion": "ITA",
        **changes,
    }


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scripted() as each:
        script, _, _ = each
        script.answers |= {
            "/v5/user/query-api": key_row(),
            "/v5/account/info": {"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": 6},
            "/v5/account/user-setting-config": {"lpaSpot": False, "lpaPerp": True, "smsef": False, "fmsef": False},
            "/v5/position/list": listed(position_row(), position_row(symbol="ETHUSDT", side="", size="0")),
            "/v5/position/symbol-info": listed({"symbol": "XRPUSDT", "leverage": "10", "positionIdx": 1}),
            "/v5/order/realtime": listed(order_row(symbol="SOLUSDT", orderStatus="New")),
            "/v5/account/wallet-balance": listed(wallet_row()),
        }
        yield each


async def facts_of(scene: Scene, **changes: object) -> AccountFacts:
    script, exchange, _ = scene
    script.answers["/v5/user/query-api"] = key_row(**changes)
    return await exchange.read_account_facts(CREDENTIALS, SITE)


async def test_all_facts_are_read(scene: Scene) -> None:
    assert await facts_of(scene) == AccountFacts(
        uid="1448939",
        parent_uid=None,
        is_read_only=False,
        is_third_party=False,
        permissions={"ContractTrade": ("Order", "Position"), "Wallet": ("AccountTransfer",)},
        addresses=(),
        expires_at=datetime(2027, 2, 20, 7, 1, 1, tzinfo=UTC),
        days_left=83,
        is_unified=True,
        margin_mode="REGULAR_MARGIN",
        rejects_beyond_band=True,
        pays_fees_in_mnt=False,
        is_delta_neutral=False,
        kyc_region="ITA",
        hedge_symbols=("XRPUSDT",),
        balance=Decimal("1000.5"),
        open_positions=("BTCUSDT",),
        open_orders=("SOLUSDT",),
    )


async def test_a_bound_key_does_not_expire(scene: Scene) -> None:
    facts = await facts_of(scene, ips=["192.0.2.7"], deadlineDay=-2, expiredAt="1970-01-01T00:00:00Z")
    assert (facts.addresses, facts.days_left, facts.expires_at) == (("192.0.2.7",), None, None)


async def test_a_read_only_key_of_an_application_in_a_sub_account(scene: Scene) -> None:
    facts = await facts_of(scene, readOnly=1, type=2, parentUid="99")
    assert (facts.is_read_only, facts.is_third_party, facts.parent_uid) == (True, True, "99")


async def test_nothing_else_is_asked_about_an_account_that_is_not_unified(scene: Scene) -> None:
    facts = await facts_of(scene, uta=0)
    assert (facts.is_unified, facts.uid) == (False, "1448939")
    assert [path for path, _ in scene[0].requests] == ["/v5/user/query-api"]


async def test_modes_are_not_asked_for_in_portfolio_margin(scene: Scene) -> None:
    scene[0].answers["/v5/account/info"] = {"marginMode": "PORTFOLIO_MARGIN", "unifiedMarginStatus": 6}
    assert (await facts_of(scene)).margin_mode == "PORTFOLIO_MARGIN"
    assert scene[0].sent("/v5/position/symbol-info") == []


@pytest.mark.parametrize("code", [10003, 10004, 10005, 10010, 33004])
async def test_a_rejected_key_says_so(scene: Scene, code: int) -> None:
    script, exchange, _ = scene
    script.answers["/v5/user/query-api"] = lambda *_: coded(code)
    with pytest.raises(KeyRejected) as raised:
        await exchange.read_account_facts(CREDENTIALS, SITE)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v5/user/query-api", {}),
        ("/v5/user/query-api", key_row(permissions=None)),
        ("/v5/user/query-api", key_row(ips="*")),
        ("/v5/user/query-api", key_row(expiredAt="soon")),
        ("/v5/account/info", {"marginMode": "REGULAR_MARGIN"}),
        ("/v5/account/user-setting-config", {}),
        ("/v5/position/list", {"list": None}),
        ("/v5/account/wallet-balance", listed(wallet_row(accountType="CONTRACT"))),
        ("/v5/account/wallet-balance", lambda *_: web.Response(status=502)),
    ],
)
async def test_an_answer_that_cannot_be_read_gives_no_facts(scene: Scene, path: str, answer: object) -> None:
    script, exchange, _ = scene
    script.answers[path] = answer
    with pytest.raises(VenueUnavailable):
        await exchange.read_account_facts(CREDENTIALS, SITE)


async def test_orders_beyond_the_band_are_refused_from_then_on(scene: Scene) -> None:
    script, exchange, _ = scene
    await exchange.set_limit_price_action(CREDENTIALS, SITE)
    assert script.sent("/v5/account/set-limit-px-action") == [{"category": "linear", "modifyEnable": False}]


async def test_live_is_closed_unless_the_platform_allows_it(scene: Scene) -> None:
    _, exchange, _ = scene
    live = TradingAccount(7, "1001", "LIVE", "GLOBAL", CREDENTIALS)
    with pytest.raises(VenueUnavailable, match="switched off"):
        await exchange.read_account_facts(CREDENTIALS, live)
    with pytest.raises(VenueUnavailable, match="switched off"):
        exchange.venue(live)
