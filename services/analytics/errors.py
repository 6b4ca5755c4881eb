"""What can go wrong in analytics.

ProblemError
└── AlreadyWatched  409
"""

from shared.chassis.errors import Conflict


class AlreadyWatched(Conflict):
    type = "already-watched"
    title = "This is on your watchlist already"
