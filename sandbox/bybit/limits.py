"""Rate limits as Bybit's: per account and route in a rolling second, per address in five seconds."""

from collections import defaultdict, deque
from dataclasses import dataclass, field

WINDOW_MS = 1_000
ADDRESS_WINDOW_MS = 5_000
ADDRESS_REQUESTS = 600
BAN_MS = 600_000
OTHER_ROUTES = 50

# Requests a second for each account; a batch route counts its orders.
PER_SECOND = {
    "/v5/order/create": 10,
    "/v5/order/amend": 10,
    "/v5/order/cancel": 10,
    "/v5/order/cancel-all": 10,
    "/v5/order/create-batch": 10,
    "/v5/order/amend-batch": 10,
    "/v5/order/cancel-batch": 10,
    "/v5/position/set-leverage": 10,
    "/v5/position/switch-mode": 10,
    "/v5/position/trading-stop": 10,
    "/v5/account/fee-rate": 5,
    "/v5/account/set-limit-px-action": 5,
    "/v5/account/transaction-log": 25,
    "/v5/account/instruments-info": 10,
    "/v5/user/query-api": 10,
}


@dataclass(frozen=True)
class Visit:
    """`remaining` requests until `reset_ms`; with `exceeded` the request is refused."""

    limit: int
    remaining: int
    reset_ms: int
    exceeded: bool

    def headers(self) -> dict[str, str]:
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(self.remaining),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


@dataclass
class RateLimits:
    """`factor` multiplies all limits."""

    factor: int = 1
    _visits: dict[tuple[str, str], deque[int]] = field(default_factory=lambda: defaultdict(deque))
    _addresses: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    _banned_until: dict[str, int] = field(default_factory=dict)

    def visit(self, uid: str, path: str, now_ms: int, cost: int = 1) -> Visit:
        """Count a request of an account. A refused one does not count."""
        limit = PER_SECOND.get(path, OTHER_ROUTES) * self.factor
        times = self._visits[uid, path]
        _forget_until(times, now_ms - WINDOW_MS)
        if len(times) + cost > limit:
            return Visit(limit, 0, (times[0] if times else now_ms) + WINDOW_MS, exceeded=True)
        times.extend([now_ms] * cost)
        return Visit(limit, limit - len(times), now_ms, exceeded=False)

    def is_banned(self, address: str, now_ms: int) -> bool:
        """Count a request of an address. Above the limit the address is banned."""
        if now_ms < self._banned_until.get(address, 0):
            return True
        times = self._addresses[address]
        _forget_until(times, now_ms - ADDRESS_WINDOW_MS)
        times.append(now_ms)
        if len(times) > ADDRESS_REQUESTS * self.factor:
            self.ban(address, now_ms + BAN_MS)
            return True
        return False

    def ban(self, address: str, until_ms: int) -> None:
        """Refuse all requests of an address until then; a time that is past lifts the ban."""
        self._banned_until[address] = until_ms
        self._addresses[address].clear()


def _forget_until(times: deque[int], past_ms: int) -> None:
    while times and times[0] <= past_ms:
        times.popleft()
