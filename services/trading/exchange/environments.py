"""The exchange's addresses: of each environment, and of live trading in each region."""

from dataclasses import dataclass
from typing import Protocol, get_args

from services.trading.exchange.account_facts import Environment
from services.trading.exchange.venue import VenueUnavailable

# Regions with a site of their own that offers linear contracts; all others use the global one. bybit.eu does not.
LIVE_HOSTS = {
    "GLOBAL": ("api.bybit.com", "stream.bybit.com"),
    "AE": ("api.bybit.ae", "stream.bybit.com"),
    "GE": ("api.bybitgeorgia.ge", "stream.bybitgeorgia.ge"),
    "ID": ("api.bybit.id", "stream.bybit.id"),
    "JP": ("api.manepa.jp", "stream.manepa.jp"),
    "KZ": ("api.bybit.kz", "stream.bybit.kz"),
    "NL": ("api.bybit.nl", "stream.bybit.com"),
    "TR": ("api.bybit.tr", "stream.bybit.tr"),
}
DEMO_HOSTS = ("api-demo.bybit.com", "stream-demo.bybit.com")
TESTNET_HOSTS = ("api-testnet.bybit.com", "stream-testnet.bybit.com")


class EnvironmentClosed(VenueUnavailable):
    """The environment is not available on this platform, or not in the region. The text is for tenants."""


class Site(Protocol):
    """Where an account is."""

    @property
    def environment(self) -> Environment: ...

    @property
    def region(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an account is reached. `limited_as`: requests to endpoints of this name share one limit per address."""

    rest_url: str
    stream_url: str
    limited_as: str


class Environments:
    """The environments that this platform is set up for."""

    def __init__(self, live: bool, sandbox_rest_url: str, sandbox_ws_url: str) -> None:
        self._live = live
        self._sandbox_rest_url = sandbox_rest_url.rstrip("/")
        self._sandbox_ws_url = sandbox_ws_url

    def endpoint(self, site: Site) -> Endpoint:
        """Raises EnvironmentClosed."""
        environment, region = site.environment, site.region
        if environment not in get_args(Environment):
            raise EnvironmentClosed(f"{environment} is none of the exchange's environments.")
        if environment == "SANDBOX":
            return self._sandbox()
        if environment == "LIVE" and not self._live:
            raise EnvironmentClosed("Live trading is switched off on this platform.")
        if environment == "LIVE" and region not in LIVE_HOSTS:
            raise EnvironmentClosed(f"Live trading does not work in the region {region}.")
        hosts = {"LIVE": LIVE_HOSTS.get(region, ("", "")), "DEMO": DEMO_HOSTS, "TESTNET": TESTNET_HOSTS}
        rest, stream = hosts[environment]
        return Endpoint(f"https://{rest}", f"wss://{stream}/v5/private", environment)

    def _sandbox(self) -> Endpoint:
        if not (self._sandbox_rest_url and self._sandbox_ws_url):
            raise EnvironmentClosed("This platform has no sandbox exchange.")
        base = self._sandbox_ws_url.partition("/v5/")[0].rstrip("/")
        return Endpoint(self._sandbox_rest_url, f"{base}/v5/private", "SANDBOX")
