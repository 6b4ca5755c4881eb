"""HTTP endpoints of billing."""

from services.billing.routes.subscription import SubscriptionRoutes
from services.billing.routes.usage import UsageRoutes
from shared.chassis.http.app import Endpoint
from shared.chassis.postgres import Database


class Routes:
    """The endpoints of billing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def endpoints(self) -> list[Endpoint]:
        parts = (SubscriptionRoutes, UsageRoutes)
        return [endpoint for part in parts for endpoint in part(self._database).endpoints()]
