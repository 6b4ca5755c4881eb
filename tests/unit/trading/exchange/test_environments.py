"""Where accounts are reached."""

from dataclasses import dataclass

import pytest

from services.trading.exchange.account_facts import Environment
from services.trading.exchange.environments import LIVE_HOSTS, Endpoint, EnvironmentClosed, Environments

OPEN = Environments(True, "http://127.0.0.1:7000/", "ws://127.0.0.1:7000/v5/public/linear")


@dataclass(frozen=True)
class At:
    environment: Environment
    region: str = "GLOBAL"


@pytest.mark.parametrize(
    ("site", "endpoint"),
    [
        (At("LIVE"), Endpoint("https://api.bybit.com", "wss://stream.bybit.com/v5/private", "LIVE")),
        (At("LIVE", "TR"), Endpoint("https://api.bybit.tr", "wss://stream.bybit.tr/v5/private", "LIVE")),
        (At("LIVE", "NL"), Endpoint("https://api.bybit.nl", "wss://stream.bybit.com/v5/private", "LIVE")),
        (
            At("DEMO", "TR"),
            Endpoint("https://api-demo.bybit.com", "wss://stream-demo.bybit.com/v5/private", "DEMO"),
        ),
        (
            At("TESTNET"),
            Endpoint("https://api-testnet.bybit.com", "wss://stream-testnet.bybit.com/v5/private", "TESTNET"),
        ),
        (At("SANDBOX"), Endpoint("http://127.0.0.1:7000", "ws://127.0.0.1:7000/v5/private", "SANDBOX")),
    ],
)
def test_an_environment_has_its_hosts(site: At, endpoint: Endpoint) -> None:
    assert OPEN.endpoint(site) == endpoint


def test_regional_hosts_share_one_limit_per_address() -> None:
    assert {OPEN.endpoint(At("LIVE", region)).limited_as for region in LIVE_HOSTS} == {"LIVE"}


@pytest.mark.parametrize(
    ("environments", "site", "words"),
    [
        (Environments(False, "", ""), At("LIVE"), "switched off"),
        (OPEN, At("LIVE", "EU"), "does not work in the region EU"),
        (Environments(True, "", ""), At("SANDBOX"), "no sandbox"),
        (OPEN, At("MAINNET"), "none of the exchange's environments"),  # type: ignore[arg-type]
    ],
)
def test_a_closed_environment_says_why(environments: Environments, site: At, words: str) -> None:
    with pytest.raises(EnvironmentClosed, match=words):
        environments.endpoint(site)
