"""What can go wrong in analytics.

ProblemError
└── Conflict
    ├── AlreadyWatched  409
    └── WatchlistFull   409  unwatch something first
"""

from shared.chassis.errors import Conflict


class AlreadyWatched(Conflict):
    """The same symbol, interval and period is on the watchlist."""

    type = "already-watched"
    title = "This is on your watchlist already"


class WatchlistFull(Conflict):
    """It holds as many as it can; `limit` says how many. Unwatch something first."""

    type = "watchlist-full"
    title = "Your watchlist is full"
