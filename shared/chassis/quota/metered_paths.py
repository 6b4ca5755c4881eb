"""What each operation counts as, and what is never metered: the one table of it.

Never metered and never refused, whatever the quota, the plan, the payment or the status: what stops, pauses,
cancels or closes something that trades, what removes a key or a log-in, and reading one's positions; and how one
learns of one's limits and gets others, or nobody could ever leave a limit. `/v1/auth` is the log-in itself.
"""

from shared.contracts.billing import RequestKind

# Of a resource, by the longest beginning of its path that stands here.
KINDS: dict[str, RequestKind] = {
    "/v1/strategies": "trading",
    "/v1/bot-configurations": "trading",
    "/v1/sessions": "trading",
    "/v1/trades": "trading",
    "/v1/decisions": "trading",
    "/v1/candles": "trading",
    "/v1/backtests": "backtest",
    "/v1/performance": "analysis",
    "/v1/market-analysis": "analysis",
    "/v1/watchlist": "analysis",
}

# Free as the last word of a path that is posted to, whatever it is of.
FREE_VERBS = frozenset({"stop", "pause", "flatten", "close", "cancel", "kill", "kill-switch", "logout"})

# Free with everything below them.
FREE_RESOURCES = ("/v1/auth", "/v1/plans", "/v1/subscription", "/v1/usage")

FREE_OPERATIONS = frozenset(
    {
        # One's positions: what is open stands in sessions and trades.
        "GET /v1/sessions",
        "GET /v1/sessions/limits",
        "GET /v1/sessions/{id}",
        "GET /v1/sessions/{id}/stream",
        "GET /v1/trades",
        "GET /v1/trades/{id}",
        # Cancelling.
        "DELETE /v1/backtests/{id}",
        # Log-ins.
        "GET /v1/me/sessions",
        "DELETE /v1/me/sessions",
        "DELETE /v1/me/sessions/{id}",
    }
)


def kind_of(method: str, path: str) -> RequestKind | None:
    """What a request to this operation counts as; None: it is never metered and never refused."""
    if f"{method} {path}" in FREE_OPERATIONS or any(_below(path, resource) for resource in FREE_RESOURCES):
        return None
    if method == "POST" and path.rpartition("/")[2] in FREE_VERBS:
        return None
    return next((kind for resource, kind in KINDS.items() if _below(path, resource)), "other")


def _below(path: str, resource: str) -> bool:
    return path == resource or path.startswith(f"{resource}/")
