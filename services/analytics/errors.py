"""Errors of analytics, in addition to those of the chassis.

ProblemError
└── Conflict
    ├── AlreadyWatched  409
    └── WatchlistFull   409  the user must remove a watch first
"""

from shared.chassis.errors import Conflict


class AlreadyWatched(Conflict):
    """A watch with the same symbol, interval and period exists."""

    type = "already-watched"
    title = "This is already on your watchlist"


class WatchlistFull(Conflict):
    """`limit` is the maximum number of watches. Remove one first."""

    type = "watchlist-full"
    title = "Your watchlist is full"
