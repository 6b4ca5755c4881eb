"""What can go wrong in analytics.

ProblemError
└── Conflict
    ├── AlreadyWatched  409
    └── WatchlistFull   409  unwatch something first
"""

from shared.chassis.errors import Conflict


class AlreadyWatched(Conflict):
    type = "already-watched"
    title = "This is on your watchlist already"


class WatchlistFull(Conflict):
    type = "watchlist-full"
    title = "Your watchlist is full"
