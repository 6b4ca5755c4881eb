"""Which accounts and keys are refused, and with which words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any  # fields of AccountFacts

import pytest

from services.trading.custody.judgement import ALLOWED, check_offer, judge, warnings_of
from tests.unit.trading.custody.accounts import FACTS, TRADES

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def refusals(**changes: Any) -> dict[str, str]:
    return {finding.field: finding.reason for finding in judge(replace(FACTS, **changes), NOW)}


def permissions(**groups: tuple[str, ...]) -> dict[str, str]:
    return refusals(permissions={**TRADES, **groups})


def test_an_account_that_may_trade_has_no_refusal() -> None:
    assert refusals() == {}
    assert permissions(Spot=("SpotTrade",)) == {}
    assert refusals(permissions={"ContractTrade": ("Order", "Position")}) == {}
    assert refusals(margin_mode="ISOLATED_MARGIN", is_third_party=True, addresses=(), parent_uid=None) == {}


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("Wallet", ("AccountTransfer", "SubMemberTransfer", "SubMemberTransferList", "Withdraw")),
        ("Exchange", ("ExchangeHistory",)),
        ("Earn", ("Earn",)),
        ("FiatP2P", ("FiatP2POrder", "Advertising")),
        ("FiatBitPay", ("FaitPayOrder",)),
        ("FiatConvertBroker", ("FiatConvertBrokerOrder",)),
        ("BitCard", ("BitCard",)),
        ("ByXPost", ("ByXPost",)),
        ("Affiliate", ("Affiliate",)),
        ("BlockTrade", ("BlockTrade",)),
        ("Options", ("OptionsTrade",)),
        ("CopyTrading", ("CopyTrading",)),
        ("OfTomorrow", ("Anything",)),
        ("ContractTrade", ("Order", "Position", "MovePosition")),
        ("Derivatives", ("DerivativesTrade", "Withdraw")),
        ("Spot", ("Order",)),
    ],
)
def test_a_permission_beyond_the_list_is_refused_by_name(group: str, names: tuple[str, ...]) -> None:
    reason = permissions(**{group: names})["permissions"]
    assert [f"{group}.{name}" for name in names if f"{group}.{name}" in reason] == [
        f"{group}.{name}" for name in names if name not in ALLOWED.get(group, ())
    ]


def test_a_key_that_may_not_trade_contracts_is_refused() -> None:
    assert "ContractTrade.Position" in refusals(permissions={"ContractTrade": ("Order",)})["permissions"]
    assert "ContractTrade.Order" in refusals(permissions={})["permissions"]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"is_read_only": True}, "is_read_only", "read-only"),
        ({"is_unified": False}, "account_type", "upgrade it"),
        ({"margin_mode": "PORTFOLIO_MARGIN"}, "margin_mode", "PORTFOLIO_MARGIN; switch the account to"),
        ({"margin_mode": "MARGIN_OF_TOMORROW"}, "margin_mode", "MARGIN_OF_TOMORROW"),
        ({"hedge_symbols": ("BTCUSDT", "ETHUSDT")}, "position_mode", "BTCUSDT, ETHUSDT; switch to one-way mode"),
        ({"is_delta_neutral": True}, "is_delta_neutral", "switch it off"),
        ({"rejects_beyond_band": False}, "limit_price_action", "lpaPerp=true"),
        ({"pays_fees_in_mnt": True}, "fee_coin", "settle coin"),
        ({"expires_at": NOW}, "key_expires_at", "has expired"),
        ({"days_left": 0}, "key_expires_at", "has expired"),
    ],
)
def test_a_setting_is_refused_with_what_to_do(changes: dict[str, Any], field: str, words: str) -> None:
    found = refusals(**changes)
    assert list(found) == [field]
    assert words in found[field]


def test_all_faults_are_named_at_once_and_bounded() -> None:
    found = judge(
        replace(
            FACTS,
            permissions={"G" * 5000: tuple(f"P{number}" for number in range(500))},
            is_read_only=True,
            is_unified=False,
            margin_mode="X" * 5000,
            hedge_symbols=tuple(f"COIN{number}USDT" for number in range(900)),
            pays_fees_in_mnt=True,
        ),
        NOW,
    )
    assert len(found) == 7
    assert all(len(finding.reason) < 2_000 for finding in found)
    assert "and 480 more" in found[0].reason


def test_a_site_without_perpetual_contracts_is_refused_in_words() -> None:
    (finding,) = check_offer("EU", "LINEAR")
    assert (finding.field, "bybit.eu" in finding.reason) == ("region", True)
    (finding,) = check_offer("GLOBAL", "SPOT")
    assert finding.field == "product"
    assert check_offer("GLOBAL", "LINEAR") == []


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (None, None),
        (timedelta(days=31), None),
        (timedelta(days=30), "in 30 days"),
        (timedelta(days=1, hours=3), "in 1 day;"),
        (timedelta(hours=3), "within a day"),
    ],
)
def test_a_key_that_expires_soon_is_warned_of(left: timedelta | None, words: str | None) -> None:
    found = warnings_of(None if left is None else NOW + left, ["203.0.113.7"], NOW)
    assert ([words in finding.reason for finding in found] if words else found) == ([True] if words else [])


def test_a_key_without_an_address_is_warned_of() -> None:
    assert [finding.field for finding in warnings_of(None, [], NOW)] == ["ip_addresses"]
