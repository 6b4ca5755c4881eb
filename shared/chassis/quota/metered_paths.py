"""The kind that each operation is metered as, and the operations that are never metered.

Never metered and never refused, whatever the quota, plan, payment or status: operations that stop, pause, cancel or
close something that trades, that remove a key or a login, and that read one's positions; also those that show one's
limits and change the plan, or nobody could ever leave a limit. `/v1/auth` is logging in itself.
"""

from dataclasses import replace
from functools import lru_cache

from shared.chassis.errors import QuotaExceeded
from shared.chassis.http.app import Endpoint
from shared.contracts.billing import RequestKind

# By the prefix of the path.
KINDS: dict[str, RequestKind] = {
    "/v1/strategies": "trading",
    "/v1/bot-configurations": "trading",
    "/v1/sessions": "trading",
    "/v1/trades": "trading",
    "/v1/decisions": "trading",
    "/v1/candles": "trading",
    "/v1/exchange-accounts": "trading",
    "/v1/backtests": "backtest",
    "/v1/performance": "analysis",
    "/v1/market-analysis": "analysis",
    "/v1/watchlist": "analysis",
}

# A POST is free if its path ends in one of these, on any resource.
FREE_VERBS = frozenset({"stop", "pause", "flatten", "close", "cancel", "kill", "kill-switch", "logout"})

# Free, with all paths below.
FREE_RESOURCES = ("/v1/auth", "/v1/plans", "/v1/subscription", "/v1/usage", "/v1/kill-switches")

FREE_OPERATIONS = frozenset(
    {
        # Reading one's positions: open positions are shown in sessions and trades.
        "GET /v1/sessions",
        "GET /v1/sessions/limits",
        "GET /v1/sessions/{id}",
        "GET /v1/sessions/{id}/stream",
        "GET /v1/trades",
        "GET /v1/trades/{id}",
        # Cancelling.
        "DELETE /v1/backtests/{id}",
        # Removing a key.
        "DELETE /v1/exchange-accounts/{id}",
        # Logins.
        "GET /v1/me/sessions",
        "DELETE /v1/me/sessions",
        "DELETE /v1/me/sessions/{id}",
    }
)


@lru_cache(maxsize=1_000)
def kind_of(method: str, path: str) -> RequestKind | None:
    """Return the kind that a request to this operation counts as, or None if it is never metered or refused."""
    if f"{method} {path}" in FREE_OPERATIONS or any(_below(path, resource) for resource in FREE_RESOURCES):
        return None
    if method == "POST" and path.rpartition("/")[2] in FREE_VERBS:
        return None
    return next((kind for resource, kind in KINDS.items() if _below(path, resource)), "other")


def with_refusal(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with the refusal of metered requests among its documented errors."""
    is_metered = not endpoint.public and kind_of(endpoint.method, endpoint.path) is not None
    return replace(endpoint, errors=(*endpoint.errors, QuotaExceeded)) if is_metered else endpoint


def _below(path: str, resource: str) -> bool:
    return path == resource or path.startswith(f"{resource}/")
