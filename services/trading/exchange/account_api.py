"""One account's signed requests through pybit.

Changed from pybit: it signs with the exchange's clock instead of ours, retries nothing, follows no redirect with
the key in the headers, shares one pool of connections between all accounts, and never shows the secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies

from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.outcomes import server_time_of
from services.trading.exchange.signing_clock import SigningClock

SERVER_TIME = "/v5/market/time"
PUBLIC = frozenset({SERVER_TIME})
CONNECT_S = 2.0
READ_S = 3.0  # between two bytes; calls.py bounds the whole
RECEIVE_WINDOW_MS = 5_000
HOSTS = 16  # whose connections are kept
NEVER = "never"  # pybit replaces an empty set of codes to retry with its own; no code is a text

log = structlog.get_logger()
Json = Any  # what the exchange answers: messages.py reads it strictly


@dataclass(frozen=True, slots=True)
class Answer:
    result: Json
    time_ms: int  # of the exchange
    headers: Mapping[str, str]


def connection_pool(connections: int) -> HTTPAdapter:
    """Return a pool for all accounts of the process: an HTTP object of pybit would keep connections of its own."""
    return HTTPAdapter(pool_connections=HOSTS, pool_maxsize=connections, max_retries=0)


class AccountApi(HTTP):  # type: ignore[misc]  # pybit has no types
    """Blocking; used by several threads at once. Raises one of outcomes.FAULTS."""

    def __init__(self, credentials: Credentials, rest_url: str, clock: SigningClock, pool: HTTPAdapter) -> None:
        super().__init__(
            api_key=credentials.api_key,
            api_secret=credentials.api_secret,
            max_retries=1,
            retry_codes={NEVER},
            timeout=(CONNECT_S, READ_S),
            recv_window=RECEIVE_WINDOW_MS,
            return_response_headers=True,
        )
        self.endpoint = rest_url
        self.logger.handlers.clear()  # pybit adds one for each object
        self.client.adapters.clear()
        self.client.mount("http://", pool)
        self.client.mount("https://", pool)
        self.client.max_redirects = 0
        # Otherwise each request searches the whole environment for proxies, which takes a third of its time.
        self.client.proxies = get_environ_proxies(rest_url)
        self.client.trust_env = False
        self._clock = clock

    def __repr__(self) -> str:
        return f"AccountApi({self.endpoint})"

    def send(self, method: str, path: str, values: Mapping[str, object]) -> Answer:
        """Return the answer if the exchange accepted the request. A refused timestamp corrects the clock."""
        url = f"{self.endpoint}{path}"
        try:
            body, _, headers = self._submit_request(method, url, dict(values), auth=path not in PUBLIC)
        except InvalidRequestError as error:
            if (server_ms := server_time_of(error)) is not None:
                log.warning("exchange_clock_corrected", by_ms=self._clock.correct(server_ms))
            raise
        if body["retCode"] != 0 or not isinstance(body["result"], dict):
            raise ValueError("the answer does not have the documented shape")
        return Answer(body["result"], int(body["time"]), headers)

    def _prepare_headers(
        self, payload: str, recv_window: int, content_type: str = "application/json"
    ) -> dict[str, str]:
        timestamp = self._clock.now_ms()
        return {
            "Content-Type": content_type,
            "X-BAPI-API-KEY": self.api_key,
            "X-BAPI-SIGN": self._auth(payload, recv_window, timestamp),
            "X-BAPI-SIGN-TYPE": "2",
            "X-BAPI-TIMESTAMP": str(timestamp),
            "X-BAPI-RECV-WINDOW": str(recv_window),
        }
