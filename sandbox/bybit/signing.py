"""Authentication: the key, its expiry and address, the timestamp rule, the signature over the raw payload."""

import hmac
from collections.abc import Mapping
from hashlib import sha256

from sandbox.bybit.clock import Clock
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.keys import ApiKey, KeyRegistry

DEFAULT_RECV_WINDOW_MS = 5_000


def sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


class Authentication:
    """Checks requests and stream logins against the registered keys."""

    def __init__(self, keys: KeyRegistry, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def check_request(self, headers: Mapping[str, str], payload: str, address: str) -> ApiKey:
        """`payload`: the raw query string of a GET, the raw body of a POST. Raises Refusal."""
        name, timestamp = headers.get("X-BAPI-API-KEY", ""), headers.get("X-BAPI-TIMESTAMP", "")
        window = headers.get("X-BAPI-RECV-WINDOW", str(DEFAULT_RECV_WINDOW_MS))
        if not name:
            raise Refusal(10001, "empty value: apiTimestamp[] apiKey[] apiSignature[]")
        key = self._usable_key(name, address)
        if not (_is_number(timestamp) and _is_number(window)):
            raise Refusal(10001, "params error: invalid timestamp or recv_window")
        if not self._clock.accepts(int(timestamp), int(window)):
            raise Refusal(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{timestamp}],server_timestamp[{self._clock.wall_ms}],recv_window[{window}]",
            )
        given = headers.get("X-BAPI-SIGN", "")
        signed = f"{timestamp}{name}{headers.get('X-BAPI-RECV-WINDOW', '')}{payload}"
        if not hmac.compare_digest(sign(key.secret, signed).encode(), given.encode()):
            raise Refusal(10004, "error sign! Please check your signature generation algorithm.")
        return key

    def check_login(self, arguments: object, address: str) -> ApiKey:
        """`arguments`: of the operation `auth` on a stream: key, expiry in ms, signature. Raises Refusal."""
        if not isinstance(arguments, list) or len(arguments) != 3:
            raise Refusal(10001, "Params Error")
        name, expires, given = (str(each) for each in arguments)
        if not _is_number(expires) or not self._clock.is_ahead(int(expires)):
            raise Refusal(10001, "Params Error")
        key = self._usable_key(name, address)
        if not hmac.compare_digest(sign(key.secret, f"GET/realtime{expires}").encode(), given.encode()):
            raise Refusal(10004, "Params Error")
        return key

    def _usable_key(self, name: str, address: str) -> ApiKey:
        key = self._keys.find(name)
        if key is None or key.revoked:
            raise Refusal(10003, "API key is invalid.")
        if key.ends_ms is not None and key.ends_ms <= self._clock.wall_ms:
            raise Refusal(33004, "Your api key has expired.")
        if key.ips and "*" not in key.ips and address not in key.ips:
            raise Refusal(10010, "Unmatched IP, please check your API key's bound IP addresses.")
        return key


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
