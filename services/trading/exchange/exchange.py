"""All of a process that talks to exchange accounts: threads, limits, clocks, connections."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from zlib import crc32

from requests.adapters import HTTPAdapter

from services.trading.exchange.account_api import AccountApi, connection_pool
from services.trading.exchange.account_calls import AccountCalls, AccountKey
from services.trading.exchange.account_facts import AccountFacts, Credentials, Environment
from services.trading.exchange.account_reader import read_account_facts, set_limit_price_action
from services.trading.exchange.address_budget import AddressLimit
from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.environments import Endpoint, Environments, Site
from services.trading.exchange.private_stream import PrivateStream, StreamItem
from services.trading.exchange.request_gate import BudgetStore, RequestGate
from services.trading.exchange.signing_clock import SigningClock
from services.trading.exchange.tenant_threads import TenantThreads
from services.trading.supervised_socket_api import StreamBroken
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS

THREADS = 32
THREADS_OF_TENANT = 4
CONNECTING_THREADS = 8
# The exchange accepts 500 connections in five minutes from an address.
CONNECTIONS = AddressLimit(most=450, slot_s=5.0, counted_slots=63)
ONE_CONNECTION = (1, 0, 0, 0)  # by lane


@dataclass(frozen=True, slots=True)
class TradingAccount:
    """An exchange account of a tenant. `uid` is the exchange's."""

    user_id: int
    uid: str
    environment: Environment
    region: str
    credentials: Credentials


class Exchange:
    """`egress` names the address from which this process connects; processes that share it share its limits.

    `requests` may be sent from it in about five seconds.
    """

    def __init__(self, store: BudgetStore, environments: Environments, egress: str, requests: int) -> None:
        self._store = store
        self._environments = environments
        self._egress = egress
        self._gate = RequestGate(store, requests)
        self._threads = TenantThreads(THREADS, THREADS_OF_TENANT)
        self._connecting = ThreadPoolExecutor(CONNECTING_THREADS, thread_name_prefix="exchange-stream")
        self._pool: HTTPAdapter = connection_pool(THREADS)
        self._clocks: dict[str, SigningClock] = {}

    async def close(self) -> None:
        """Stop the streams before."""
        await self._gate.close()
        self._threads.close()
        self._connecting.shutdown(wait=False, cancel_futures=True)
        self._pool.close()

    def venue(self, account: TradingAccount) -> BybitVenue:
        """Raises EnvironmentClosed."""
        endpoint = self._environments.endpoint(account)
        return BybitVenue(self._calls(account.user_id, account.uid, account.credentials, endpoint))

    def stream(self, account: TradingAccount, on_item: Callable[[StreamItem], None]) -> PrivateStream:
        """Return the account's stream; the caller runs it. Raises EnvironmentClosed."""
        endpoint = self._environments.endpoint(account)

        async def admit_connection() -> None:
            with_streams = f"{self._address(endpoint)} streams"
            try:
                given = await self._store.take(with_streams, ONE_CONNECTION, CONNECTIONS)
            except INFRASTRUCTURE_FAULTS as error:
                raise StreamBroken("the budget of connections is not available") from error
            if not given.amount:
                raise StreamBroken("the budget of connections is used up")

        return PrivateStream(
            endpoint.stream_url,
            account.credentials,
            self._clock(endpoint),
            self._connecting,
            on_item,
            admit_connection,
        )

    async def read_account_facts(self, credentials: Credentials, site: Site) -> AccountFacts:
        """Raises KeyRejected, VenueUnavailable."""
        return await read_account_facts(self._calls_of_key(credentials, site))

    async def set_limit_price_action(self, credentials: Credentials, site: Site) -> None:
        """Have limit orders beyond the price band refused. Raises as a command, and EnvironmentClosed."""
        await set_limit_price_action(self._calls_of_key(credentials, site))

    def _calls_of_key(self, credentials: Credentials, site: Site) -> AccountCalls:
        """Before the account is known, its key stands for it and for its tenant."""
        name = f"key {credentials.api_key}"
        return self._calls(-crc32(name.encode()), name, credentials, self._environments.endpoint(site))

    def _calls(self, user_id: int, uid: str, credentials: Credentials, endpoint: Endpoint) -> AccountCalls:
        clock = self._clock(endpoint)
        api = AccountApi(credentials, endpoint.rest_url, clock, self._pool)
        key = AccountKey(user_id, f"{endpoint.limited_as} {uid}", self._address(endpoint))
        return AccountCalls(key, api, clock, self._gate, self._threads)

    def _address(self, endpoint: Endpoint) -> str:
        return f"{endpoint.limited_as} {self._egress}"

    def _clock(self, endpoint: Endpoint) -> SigningClock:
        return self._clocks.setdefault(endpoint.rest_url, SigningClock())
